"""`python -m export CHECKPOINT OUT`: a checkpoint becomes a bundle for the board.

Two more commands look at bundles: `python -m export compare BUNDLE BUNDLE...` and
`python -m export evaluate-demo BUNDLE`.
A checkpoint in a folder of such a name is given as ./compare.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.pipeline import Report


# First argument -> the module whose `main(argv)` takes the rest.
COMMANDS = {"compare": "export.compare", "evaluate-demo": "export.demo.evaluate"}


def parser() -> argparse.ArgumentParser:
    """The command line of the export."""
    p = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, or a hub id such as Salesforce/blip-vqa-base")
    p.add_argument("out", metavar="OUT", type=Path, help="the bundle's folder; it is made")
    p.add_argument("--precision", choices=("int8", "fp16", "fp32"), default="int8", help="default: int8")
    p.add_argument("--name", help="name of the bundle in every result; default: the folder's")
    p.add_argument("--calibration", metavar="DIR", type=Path, help="pictures (and questions.txt); needed for int8")
    p.add_argument(
        "--calibration-limit", metavar="N", type=_whole(1), default=64, help="pictures used at most; default: 64"
    )
    p.add_argument(
        "--task",
        action="append",
        choices=("caption", "vqa"),
        help="may be given twice; default: all the checkpoint can serve",
    )
    p.add_argument(
        "--caption-prompt", metavar="TEXT", help="default: the family's ('a picture of' for captioning BLIP)"
    )
    p.add_argument(
        "--question-start",
        metavar="ID",
        type=_whole(0),
        help="first token id of a question; default: [CLS], as transformers has it; BLIP's own code uses 30523",
    )
    p.add_argument("--keep-question", action="store_true", help="do not lower-case and strip questions as BLIP does")
    p.add_argument("--beams", metavar="N", type=_whole(1, 16), default=1, help="of the bundle; default: 1 (greedy)")
    p.add_argument("--max-new-tokens", metavar="N", type=_whole(1, 256), default=20, help="longest text; default: 20")
    p.add_argument(
        "--parity-pictures", metavar="N", type=_whole(0), default=8, help="compared with transformers; default: 8"
    )
    p.add_argument("--force", action="store_true", help="replace the bundle at OUT")
    return p


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argument type: whole numbers from `least` to `most`."""

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least or (most is not None and value > most):
            limits = f"at least {least}" if most is None else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"{value} is out of range; give {limits}")
        return value

    return whole


def main(argv: list[str] | None = None) -> int:
    """Run an export, or one of `COMMANDS`; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        status: int = import_module(COMMANDS[argv[0]]).main(argv[1:])
        return status
    arguments = parser().parse_args(argv)
    # Imported here: torch and transformers take seconds, and --help should not.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from edge_app.errors import EdgeAppError
    from export.calibration import read_folder
    from export.checkpoint import load, quiet_transformers
    from export.errors import ExportError
    from export.pipeline import Options, check_before_loading, export

    quiet_transformers()
    options = Options(
        precision=arguments.precision,
        name=arguments.name,
        tasks=tuple(dict.fromkeys(arguments.task)) if arguments.task else None,
        caption_prompt=arguments.caption_prompt,
        question_start=arguments.question_start,
        clean_question=not arguments.keep_question,
        beams=arguments.beams,
        max_new_tokens=arguments.max_new_tokens,
        parity_pictures=arguments.parity_pictures,
        force=arguments.force,
    )
    try:
        calibration = None
        if arguments.calibration is not None:
            calibration = read_folder(arguments.calibration, limit=arguments.calibration_limit)
        check_before_loading(arguments.out, options, calibration)
        checkpoint = load(arguments.checkpoint)
        report = export(checkpoint, arguments.out, options, calibration)
    except (ExportError, EdgeAppError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(summary(report))
    return 0


def summary(report: Report) -> str:
    """Sizes, seconds and parity, as text."""
    manifest = report.bundle.manifest
    lines = [f"bundle {report.bundle.path} ({', '.join(manifest.tasks)}, {manifest.precision})"]
    for role, files in manifest.roles.items():
        lines.append(f"  {role:<17} {files.bin.size_bytes / 1e6:8.1f} MB  {files.precision}")
    total_mb = sum(file.size_bytes for file in manifest.files()) / 1e6
    lines.append(f"  {'all files':<17} {total_mb:8.1f} MB")
    lines.append("seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in report.seconds.items()))
    lines += [f"parity, {result}" for result in report.parity]
    if not report.parity:
        lines.append("parity: not measured (no --calibration folder to take pictures from)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
