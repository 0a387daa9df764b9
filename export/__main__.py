"""`python -m export CHECKPOINT OUT`: a checkpoint becomes a bundle for the board.

Further commands look at bundles: `python -m export compare BUNDLE BUNDLE...` and
`python -m export evaluate-demo BUNDLE`, and `python -m export sweep CHECKPOINT OUT` makes and compares all precisions.
A checkpoint in a folder of such a name is given as ./compare.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edge_app.model.manifest import Quality, Role, StagePrecision, Thresholds
from export.arguments import share, whole

if TYPE_CHECKING:
    from export.pipeline import Report


# First argument -> the module whose `main(argv)` takes the rest.
COMMANDS = {
    "compare": "export.compare",
    "evaluate-demo": "export.demo.evaluate",
    "sweep": "export.sweep",
}


def parser() -> argparse.ArgumentParser:
    """The command line of the export."""
    p = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="a folder, or a hub id such as Salesforce/blip-vqa-base")
    p.add_argument("out", metavar="OUT", type=Path, help="the bundle's folder; it is made")
    p.add_argument("--precision", choices=("int8", "fp16", "fp32"), default="int8", help="default: int8")
    p.add_argument(
        "--stage",
        metavar="ROLE=PRECISION",
        type=_stage,
        action="append",
        default=[],
        help="another precision for one graph, such as vision=fp16 or decoder=int4 (weights alone); may be repeated",
    )
    p.add_argument("--name", help="name of the bundle in every result; default: the folder's")
    p.add_argument("--calibration", metavar="DIR", type=Path, help="pictures (and questions.txt); needed for int8")
    p.add_argument(
        "--calibration-limit", metavar="N", type=whole(1), default=64, help="pictures used at most; default: 64"
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
        type=whole(0),
        help="first token id of a question; default: [CLS], as transformers has it; BLIP's own code uses 30523",
    )
    p.add_argument("--keep-question", action="store_true", help="do not lower-case and strip questions as BLIP does")
    p.add_argument("--beams", metavar="N", type=whole(1, 16), default=1, help="of the bundle; default: 1 (greedy)")
    p.add_argument("--max-new-tokens", metavar="N", type=whole(1, 256), default=20, help="longest text; default: 20")
    p.add_argument(
        "--parity-pictures", metavar="N", type=whole(0), default=8, help="compared with transformers; default: 8"
    )
    p.add_argument("--force", action="store_true", help="replace the bundle at OUT")
    _quality_arguments(p.add_argument_group("quality", "what INT8 or FP16 may lose against FP32; else exit code 1"))
    return p


def _quality_arguments(group: argparse._ArgumentGroup) -> None:
    defaults = Thresholds()
    group.add_argument(
        "--quality",
        metavar="DIR",
        type=Path,
        help="pictures to judge by, with captions.json and questions.json if there are any; "
        "default: every fifth of the calibration folder, which is then not calibrated with",
    )
    group.add_argument(
        "--quality-limit", metavar="N", type=whole(1), default=64, help="pictures used at most; default: 64"
    )
    for name, meaning in (
        ("max-kl", "mean KL(FP32 || bundle) of the next token, in nats"),
        ("max-picture-loss", "the same, as a share of what a blank picture costs"),
        ("min-sure-agreement", "share of the tokens FP32 was sure of that must be the same"),
        ("min-identical", "share of the texts that must be identical"),
        ("max-lost-answers", "share of the right answers of questions.json that may be lost"),
    ):
        default = getattr(defaults, name.replace("-", "_"))
        group.add_argument(
            f"--{name}", metavar="X", type=share, default=default, help=f"{meaning}; default: {default:g}"
        )
    group.add_argument("--accept-quality", action="store_true", help="write the bundle even so; its manifest says so")
    group.add_argument(
        "--no-layer-search", action="store_true", help="do not look for the layers that cost the most when it fails"
    )


def _stage(text: str) -> tuple[str, str]:
    """An argument type: a role and its precision."""
    role, _, precision = text.partition("=")
    if role not in get_args(Role):
        raise argparse.ArgumentTypeError(f"there is no stage {role!r}; the stages are {', '.join(get_args(Role))}")
    if precision not in get_args(StagePrecision):
        choices = ", ".join(get_args(StagePrecision))
        raise argparse.ArgumentTypeError(f"{text!r} names no precision of a stage; they are {choices}")
    return role, precision


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
    from export.examples import from_folder
    from export.options import Options
    from export.pipeline import check_before_loading, export

    quiet_transformers()
    options = Options(
        precision=arguments.precision,
        stages=dict(arguments.stage),
        name=arguments.name,
        tasks=tuple(dict.fromkeys(arguments.task)) if arguments.task else None,
        caption_prompt=arguments.caption_prompt,
        question_start=arguments.question_start,
        clean_question=not arguments.keep_question,
        beams=arguments.beams,
        max_new_tokens=arguments.max_new_tokens,
        parity_pictures=arguments.parity_pictures,
        force=arguments.force,
        thresholds=Thresholds(**{name: getattr(arguments, name) for name in Thresholds.model_fields}),
        quality_pictures=arguments.quality_limit,
        accept_quality=arguments.accept_quality,
        layer_search=not arguments.no_layer_search,
    )
    try:
        calibration, examples = None, None
        if arguments.quality is not None:
            examples = from_folder(arguments.quality, limit=arguments.quality_limit)
        if arguments.calibration is not None:
            hold_out = examples is None and not options.lossless()
            calibration = read_folder(arguments.calibration, limit=arguments.calibration_limit, hold_out=hold_out)
        check_before_loading(arguments.out, options, calibration)
        checkpoint = load(arguments.checkpoint)
        report = export(checkpoint, arguments.out, options, calibration, examples)
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
    return "\n".join(lines + quality_lines(manifest.quality, manifest.precision))


def quality_lines(quality: Quality, precision: str) -> list[str]:
    """What the precision lost, in a few lines."""
    if not quality.loss:
        return [f"quality: nothing is lost in {precision}" if precision == "fp32" else "quality: not measured"]
    lines = [f"quality, {precision} beside fp32 ({quality.pictures}):"]
    for task, loss in quality.loss.items():
        lines.append(
            f"  {task}: {loss.identical} of {loss.texts} texts identical, {loss.token_agreement:.1%} of tokens; "
            f"KL {loss.mean_kl:.3g} nats a token (a blank picture costs {loss.picture_kl:.3g}), "
            f"worst {loss.worst_kl:.3g} in {loss.worst_image}"
        )
        if loss.answers:
            lines.append(f"    {loss.right} of {loss.answers} answers right (fp32: {loss.right_fp32})")
        if loss.cider is not None:
            lines.append(
                f"    CIDEr {loss.cider:.3f} (fp32: {loss.cider_fp32:.3f}), "
                f"BLEU-4 {loss.bleu4:.3f} (fp32: {loss.bleu4_fp32:.3f})"
            )
    if quality.kept is not None:
        names = [f"{role}: {', '.join(layers)}" for role, layers in quality.kept.layers.items()]
        moved = ", ".join(
            f"{task} {kl:.3g} -> {quality.loss[task].mean_kl:.3g}" for task, kl in quality.kept.mean_kl_before.items()
        )
        lines.append(f"  kept in fp32, {quality.kept.added_bytes / 1e6:+.1f} MB, KL {moved}; {'; '.join(names)}")
    if quality.accepted_below_thresholds:
        lines.append("  this is below the thresholds and was accepted with --accept-quality")
    return lines


if __name__ == "__main__":
    sys.exit(main())
