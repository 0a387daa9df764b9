"""`python -m tests.fuzz --examples 10000`: the long form, with other examples each time."""

from __future__ import annotations

import argparse
import secrets
import sys

from edge_app.health import nearest_rank
from tests.fuzz.search import search
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Search each target and print the processor time it took; a fault ends the search with the bytes that show it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Bytes of strangers at every parser.")
    parser.add_argument("--examples", metavar="N", type=int, default=10_000, help="for each parser; default: 10000")
    parser.add_argument("--seed", metavar="N", type=int, default=secrets.randbelow(2**32), help="to repeat a search")
    parser.add_argument("targets", nargs="*", metavar="PARSER", help=f"of {', '.join(TARGETS)}; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - TARGETS.keys():
        parser.error(f"there is no parser {unknown.pop()}; there are {', '.join(TARGETS)}")
    print(f"seed {arguments.seed}\n{'parser':<10} {'examples':>8} {'p50 ms':>8} {'p99 ms':>8} {'most ms':>8}")
    for name in arguments.targets or TARGETS:
        times_ms = sorted(search(name, arguments.examples, arguments.seed))
        p50, p99 = (nearest_rank(times_ms, share) for share in (0.5, 0.99))
        print(f"{name:<10} {len(times_ms):>8} {p50:>8.3f} {p99:>8.3f} {times_ms[-1]:>8.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
