"""`python -m export CHECKPOINT OUT`: a checkpoint becomes a bundle for the board.

Further commands look at bundles: `python -m export compare BUNDLE BUNDLE...` and
`python -m export evaluate-demo BUNDLE`, and `python -m export sweep CHECKPOINT OUT` makes and compares all precisions.
A checkpoint in a folder of such a name is given as ./compare.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from edge_app.model.manifest import MOST_NEW_TOKENS, MOST_PX, Role, StagePrecision, Thresholds
from export.arguments import positive, share, whole
from export.options import Options


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
    p.add_argument(
        "--bundle-version",
        metavar="N",
        type=whole(0),
        help="grows with each release: a board refuses a lower one; default: the time, as YYYYMMDDhhmmss in UTC",
    )
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
    p.add_argument(
        "--max-new-tokens", metavar="N", type=whole(1, MOST_NEW_TOKENS), default=20, help="longest text; default: 20"
    )
    p.add_argument(
        "--parity-pictures", metavar="N", type=whole(0), default=8, help="compared with transformers; default: 8"
    )
    p.add_argument("--force", action="store_true", help="replace the bundle at OUT")
    _reduction_arguments(p.add_argument_group("fewer image tokens", "faster vision; see docs/bundle.md"))
    _quality_arguments(p.add_argument_group("quality", "what INT8 or FP16 may lose against FP32; else exit code 1"))
    return p


def _reduction_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--image-size",
        metavar="N",
        type=whole(1, MOST_PX),
        help="side of the pictures in pixels, a multiple of the patch size; default: the checkpoint's own",
    )
    group.add_argument(
        "--merge-tokens",
        metavar="R",
        type=whole(0),
        default=0,
        help="image tokens merged in each vision layer (ToMe); such a bundle takes no regions; default: 0",
    )


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
    for name, number, meaning in (
        ("max-kl", positive(), "mean KL(FP32 || bundle) of the next token, in nats"),
        ("max-picture-loss", positive(1), "the same, as a share of what a blank picture costs"),
        ("min-sure-agreement", share, "share of the tokens FP32 was sure of that must be the same"),
        ("min-identical", share, "share of the texts that must be identical"),
        ("max-lost-answers", share, "answers right in FP32 alone, as a share of all that are known"),
    ):
        default = getattr(defaults, name.replace("-", "_"))
        group.add_argument(
            f"--{name}", metavar="X", type=number, default=default, help=f"{meaning}; default: {default:g}"
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


def options_of(arguments: argparse.Namespace) -> Options:
    """What a parsed command line asks of the export."""
    return Options(
        precision=arguments.precision,
        stages=dict(arguments.stage),
        name=arguments.name,
        version=arguments.bundle_version,
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
        image_px=arguments.image_size,
        merge_tokens=arguments.merge_tokens,
    )


def main(argv: Sequence[str]) -> int:
    """Export a checkpoint and say what was made; 0 when done, 1 with a sentence when not."""
    arguments = parser().parse_args(argv)
    # Imported here: torch and transformers take seconds, and --help should not.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from edge_app.errors import EdgeAppError
    from export.calibration import read_folder
    from export.checkpoint import load, quiet_transformers
    from export.errors import ExportError
    from export.examples import from_folder
    from export.pipeline import check_before_loading, export
    from export.summary import summary

    quiet_transformers()
    options = options_of(arguments)
    try:
        calibration, examples = None, None
        if arguments.quality is not None:
            examples = from_folder(arguments.quality, limit=arguments.quality_limit)
        if arguments.calibration is not None:
            hold_out = examples is None and (options.reduces() or not options.lossless())
            calibration = read_folder(arguments.calibration, limit=arguments.calibration_limit, hold_out=hold_out)
        check_before_loading(arguments.out, options, calibration, examples)
        checkpoint = load(arguments.checkpoint)
        report = export(checkpoint, arguments.out, options, calibration, examples)
    except (ExportError, EdgeAppError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(summary(report, options))
    return 0
