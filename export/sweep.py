"""`python -m export sweep CHECKPOINT OUT --calibration DIR`: the same model in every precision, side by side.

Each variant becomes a bundle in OUT; one that is there from an earlier run is taken as it is. What each costs and how
far it agrees with FP32 is then one table of `python -m export compare`, which further options go to.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_app.model.bundle import MANIFEST_NAME
from export.arguments import whole
from export.compare import main as compare

# Name -> options of the export. FP32 comes first: the texts of all others are compared with it.
VARIANTS: dict[str, tuple[str, ...]] = {
    "fp32": ("--precision", "fp32"),
    "fp16": ("--precision", "fp16"),
    "int8": (),
    "vision-int8": ("--precision", "fp16", "--stage", "vision=int8"),
    "text-int8": ("--stage", "vision=fp16"),
    "decoder-fp16": ("--stage", "decoder=fp16"),
    "decoder-int4": ("--stage", "decoder=int4"),
}
# What was lost is to be seen here, not to be mended or refused.
AS_IT_IS = ("--no-layer-search", "--accept-quality", "--parity-pictures", "0")


def main(argv: Sequence[str]) -> int:
    """Export what is missing, then compare; the exit code of the first that failed."""
    parser = argparse.ArgumentParser(prog="python -m export sweep", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder or a hub id")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder for the bundles")
    parser.add_argument("--calibration", metavar="DIR", required=True, help="pictures (and questions.txt)")
    parser.add_argument(
        "--variant", action="append", choices=tuple(VARIANTS), help="only these, and fp32; may be repeated"
    )
    parser.add_argument(
        "--max-new-tokens", metavar="N", type=whole(1, 256), default=20, help="longest text of the bundles; default: 20"
    )
    arguments, rest = parser.parse_known_args(argv)
    wanted = [name for name in VARIANTS if not arguments.variant or name == "fp32" or name in arguments.variant]
    for name in wanted:
        if (arguments.out / name / MANIFEST_NAME).is_file():
            print(f"{name}: taken from {arguments.out / name}", file=sys.stderr)
            continue
        command = [arguments.checkpoint, str(arguments.out / name), "--calibration", arguments.calibration]
        command += ["--max-new-tokens", str(arguments.max_new_tokens)]
        print(f"{name}: {' '.join(VARIANTS[name]) or 'the default'}", file=sys.stderr)
        status = _export([*command, *VARIANTS[name], *AS_IT_IS])
        if status:
            return status
    return compare([*(str(arguments.out / name) for name in wanted), *rest])


def _export(command: Sequence[str]) -> int:
    from export.__main__ import main as export  # it imports this module by name

    return export(list(command))
