"""`python -m export sweep CHECKPOINT OUT --calibration DIR`: the same model in every precision, side by side.

Each variant becomes a bundle in OUT; one that an earlier run of the same sweep left there is taken as it is. What each
costs and how far it agrees with FP32 is then the table of `python -m export compare`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_app.errors import EdgeAppError
from export.arguments import whole
from export.command_line import main as export
from export.command_line import options_of
from export.command_line import parser as export_parser
from export.compare import report
from export.compare_arguments import add_options, material_of
from export.errors import ExportError
from export.sweep_reuse import is_there

REFERENCE = "fp32"
# Name -> options of the export. FP32 comes first: the texts of all others are compared with it.
VARIANTS: dict[str, tuple[str, ...]] = {
    REFERENCE: ("--precision", "fp32"),
    "fp16": ("--precision", "fp16"),
    "int8": (),
    "vision-int8": ("--precision", "fp16", "--stage", "vision=int8"),
    "text-int8": ("--stage", "vision=fp16"),
    "decoder-fp16": ("--stage", "decoder=fp16"),
    "decoder-int4": ("--stage", "decoder=int4"),
}
# What was lost is to be seen here, not to be mended or refused.
AS_IT_IS = ("--no-layer-search", "--accept-quality", "--parity-pictures", "0")


def parser() -> argparse.ArgumentParser:
    """The command line of the sweep: that of a comparison but for the bundles, and how these are made."""
    p = argparse.ArgumentParser(prog="python -m export sweep", description=__doc__)
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder or a hub id")
    p.add_argument("out", metavar="OUT", type=Path, help="folder for the bundles")
    p.add_argument("--calibration", metavar="DIR", required=True, help="pictures (and questions.txt)")
    p.add_argument("--variant", action="append", choices=tuple(VARIANTS), help="only these, and fp32; may be repeated")
    p.add_argument(
        "--max-new-tokens", metavar="N", type=whole(1, 256), default=20, help="longest text of the bundles; default: 20"
    )
    add_options(p.add_argument_group("comparison"))
    return p


def main(argv: Sequence[str]) -> int:
    """Export what is missing, then compare; 0 when done, else the exit code of what failed."""
    arguments = parser().parse_args(argv)
    wanted = [name for name in VARIANTS if name in (REFERENCE, *(arguments.variant or VARIANTS))]
    if wanted == [REFERENCE]:
        parser().error(f"--variant {REFERENCE} alone leaves nothing to compare with it; name another one, too")
    try:
        return _sweep(wanted, arguments)
    except (ExportError, EdgeAppError) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 1


def _sweep(wanted: Sequence[str], arguments: argparse.Namespace) -> int:
    """First all that can be checked, then the exports, which take hours, then the comparison."""
    folders = {name: arguments.out / name for name in wanted}
    commands = {name: _export_command(name, arguments) for name in wanted}
    material = material_of(arguments)
    there = {name: _is_there(folders[name], commands[name]) for name in wanted}
    for name in wanted:
        if there[name]:
            print(f"{name}: taken from {folders[name]}", file=sys.stderr)
            continue
        print(f"{name}: {' '.join(VARIANTS[name]) or 'the default'}", file=sys.stderr)
        if status := export(commands[name]):
            return status
    report(list(folders.values()), material, arguments)
    return 0


def _export_command(name: str, arguments: argparse.Namespace) -> list[str]:
    """What `python -m export` is to be given for one variant."""
    command = [arguments.checkpoint, str(arguments.out / name), "--calibration", arguments.calibration]
    return [*command, "--max-new-tokens", str(arguments.max_new_tokens), *VARIANTS[name], *AS_IT_IS]


def _is_there(folder: Path, command: Sequence[str]) -> bool:
    parsed = export_parser().parse_args(command)
    return is_there(folder, parsed.checkpoint, options_of(parsed))
