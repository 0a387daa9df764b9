"""What the scripts that measure share: the arguments of those that run a node, and how all of them end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from edge_app.errors import EdgeAppError
from export.arguments import whole
from tests.bench.process import BenchError


def add_node_arguments(
    p: argparse.ArgumentParser, *, bundle: str, seconds: int, of: str, fps: int, camera: str
) -> None:
    """Which bundle, how long and how fast; the words say what of."""
    p.add_argument("--bundle", metavar="DIR", type=Path, required=True, help=bundle)
    p.add_argument("--seconds", metavar="S", type=whole(1), default=seconds, help=f"{of}; default: {seconds}")
    p.add_argument("--threads", metavar="N", type=whole(1), default=2, help="of the inference; default: 2")
    p.add_argument("--fps", metavar="N", type=whole(1), default=fps, help=f"of {camera}; default: {fps}")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")


def run_script(name: str, work: Callable[[], str]) -> int:
    """Print what `work` returns; 0 when done, 1 with a sentence when not, 130 when interrupted."""
    try:
        print(work())
    except (BenchError, EdgeAppError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells report it
    return 0
