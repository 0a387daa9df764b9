"""`python -m export sweep CHECKPOINT OUT --calibration DIR`: the same model in every precision, side by side.

Each variant becomes a bundle in OUT, beside `sweep.json`, which says what they are made from; one that an earlier run
of the same sweep left there is taken as it is. What each costs and how far it agrees with FP32 is then the table of
`python -m export compare`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from pydantic import JsonValue

from edge_app.errors import EdgeAppError
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.manifest import MOST_NEW_TOKENS
from export.arguments import whole
from export.bundle import check_target
from export.command_line import main as export
from export.command_line import parser as export_parser
from export.compare import report
from export.compare_arguments import add_options, material_of
from export.compare_checks import check_inputs
from export.compare_material import Material, drawn
from export.errors import ExportError
from export.sweep_record import Record, origin_of, write_record
from export.sweep_reuse import made_earlier, record_to_continue

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
# Of an export's options: the sweep's own folders and the number of a release, which are not what a bundle is made of,
# and what variants differ in.
NOT_SHARED = ("checkpoint", "out", "calibration", "bundle_version", "precision", "stage", "force")


def parser() -> argparse.ArgumentParser:
    """The command line of the sweep: that of a comparison but for the bundles, and how these are made."""
    p = argparse.ArgumentParser(prog="python -m export sweep", description=__doc__)
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder or a hub id")
    p.add_argument("out", metavar="OUT", type=Path, help="folder for the bundles")
    p.add_argument("--calibration", metavar="DIR", required=True, help="pictures (and questions.txt)")
    p.add_argument("--variant", action="append", choices=tuple(VARIANTS), help="only these, and fp32; may be repeated")
    p.add_argument(
        "--max-new-tokens",
        metavar="N",
        type=whole(1, MOST_NEW_TOKENS),
        default=20,
        help="longest text of the bundles; default: 20",
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
    out: Path = arguments.out
    material = material_of(arguments)
    for name in wanted:
        check_target(out / name, force=True)  # a bundle may be there; whose it is takes longer to find out
    origin = origin_of(arguments.checkpoint, Path(arguments.calibration), _options(arguments))
    record = record_to_continue(out, VARIANTS, origin)
    bundles = {name: made_earlier(out / name, record) for name in wanted}
    for earlier in filter(None, bundles.values()):
        _check_inputs(earlier, material, arguments)
    for name, bundle in bundles.items():
        if bundle is not None:
            print(f"{name}: taken from {bundle.path}", file=sys.stderr)
            continue
        print(f"{name}: {' '.join(VARIANTS[name]) or 'the default'}", file=sys.stderr)
        write_record(out, record)  # before there is a bundle that it tells of
        with redirect_stdout(sys.stderr):  # stdout is for the comparison
            status = export(_export_command(name, arguments))
        if status:
            return status
        made = open_bundle(out / name, verify=False)  # the export has just hashed it
        record = Record(origin=origin, bundles={**record.bundles, name: made.hash})
        write_record(out, record)
        _check_inputs(made, material, arguments)
    report([out / name for name in wanted], material, arguments)
    return 0


def _check_inputs(bundle: Bundle, material: Material | None, arguments: argparse.Namespace) -> None:
    """Raise ExportError for what the comparison would refuse in the end; all variants have the limits of the first."""
    asked = material or drawn(bundle.manifest.image)
    check_inputs(bundle, asked, tasks=bundle.manifest.tasks, tokens=arguments.tokens)


def _export_command(name: str, arguments: argparse.Namespace) -> list[str]:
    """What `python -m export` is to be given for one variant."""
    command = [arguments.checkpoint, str(arguments.out / name), "--calibration", arguments.calibration]
    return [*command, "--max-new-tokens", str(arguments.max_new_tokens), *VARIANTS[name], *AS_IT_IS]


def _options(arguments: argparse.Namespace) -> dict[str, JsonValue]:
    """What every variant is exported with, and what each has of its own."""
    given = vars(export_parser().parse_args(_export_command(REFERENCE, arguments)))
    shared = {name: value for name, value in given.items() if name not in NOT_SHARED}
    return shared | {f"of {name}": " ".join(options) for name, options in VARIANTS.items()}
