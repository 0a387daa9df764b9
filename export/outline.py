"""The manifest of a bundle as far as the checkpoint and the options settle it, before any graph is made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from edge_app import __version__
from edge_app.model.manifest import Generation, ImageSpec, Manifest, Source, Task, TextSpec, Tokens
from export.bundle import describe
from export.checkpoint import Checkpoint
from export.errors import ExportError
from export.families import blip
from export.families.token_merging import merging_of
from export.options import Options


def bundle_name(wanted: str) -> str:
    """`wanted` with what a bundle's name must not hold (it stands in logs and messages) replaced by "-"."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", wanted)[:64].lstrip("-.") or "bundle"


def tasks_of(checkpoint: Checkpoint, options: Options) -> tuple[Task, ...]:
    """The tasks wanted, all that the checkpoint can serve by default; ExportError for one that it cannot."""
    possible = blip.tasks_of(checkpoint.model)
    wanted = options.tasks or possible
    impossible = [task for task in wanted if task not in possible]
    if impossible:
        raise ExportError(
            f"A {checkpoint.model_class} serves {' and '.join(possible)}, not {', '.join(impossible)}; "
            "choose another checkpoint or task."
        )
    return tuple(wanted)


def tokens_of(checkpoint: Checkpoint, options: Options, yes: int | None, no: int | None) -> Tokens:
    """The special token ids; ExportError for a start of questions that the checkpoint does not know."""
    text = checkpoint.model.config.text_config
    start = options.question_start if options.question_start is not None else checkpoint.tokenizer.cls_token_id
    if not 0 <= start < text.vocab_size:
        raise ExportError(
            f"The token {start} cannot start a question: the checkpoint knows 0 to {text.vocab_size - 1}."
        )
    return Tokens(
        start=text.bos_token_id, end=text.sep_token_id, pad=text.pad_token_id, question_start=start, yes=yes, no=no
    )


def image_spec(checkpoint: Checkpoint) -> ImageSpec:
    """How a picture becomes what the checkpoint's model takes, and how many image states come of it."""
    vision, processor = checkpoint.model.config.vision_config, checkpoint.processor
    merging = merging_of(checkpoint.model)
    side = vision.image_size // vision.patch_size
    return ImageSpec(
        height_px=vision.image_size,
        width_px=vision.image_size,
        mean=tuple(processor.image_mean),
        std=tuple(processor.image_std),
        resampling=checkpoint.resampling,
        prefix_positions=1,
        patch_rows=side,
        patch_columns=side,
        checkpoint_px=checkpoint.image_px if vision.image_size != checkpoint.image_px else None,
        merge_tokens=merging.rate if merging else 0,
        merged_positions=merging.merged if merging else 0,
    )


def outline(
    checkpoint: Checkpoint, options: Options, tasks: Sequence[Task], tokens: Tokens, *, name: str, tokenizer: Path
) -> Manifest:
    """The manifest as far as it is known before the graphs are written."""
    text = checkpoint.model.config.text_config
    prompt = blip.CAPTION_PROMPT[checkpoint.model_class] if options.caption_prompt is None else options.caption_prompt
    created = datetime.now(UTC)
    limits = Generation(beams=options.beams, max_new_tokens=options.max_new_tokens)
    defaults: dict[Task, Generation] = {"caption": limits.model_copy(update={"prompt": prompt}), "vqa": limits}
    return Manifest(
        format_version=1,
        name=name,
        family="blip",
        precision=options.precision,
        tasks=tuple(tasks),
        created=created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        version=int(created.strftime("%Y%m%d%H%M%S")) if options.version is None else options.version,
        source=Source(
            checkpoint=checkpoint.name,
            revision=checkpoint.revision,
            licence=checkpoint.licence,
            model_class=checkpoint.model_class,
        ),
        image=image_spec(checkpoint),
        tokens=tokens,
        text=TextSpec(
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
            head_size=text.hidden_size // text.num_attention_heads,
            vocabulary=text.vocab_size,
            max_positions=text.max_position_embeddings,
            max_question_tokens=min(blip.MAX_QUESTION_TOKENS, text.max_position_embeddings),
            question_layers=text.num_hidden_layers if "vqa" in tasks else 0,
            clean_question=options.clean_question,
        ),
        generation={task: defaults[task] for task in tasks},
        roles={},
        tokenizer=describe(tokenizer),
        tools={
            "edge-app": __version__,
            **{name: version(name) for name in ("torch", "transformers", "openvino", "nncf", "tokenizers")},
        },
    )
