"""Load a checkpoint from a folder or a model hub: weights, tokenizer, image settings."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoTokenizer, BlipConfig
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.utils import logging

from edge_app.model.manifest import Resampling
from export.errors import ExportError, first_line
from export.families import blip
from export.model_card import licence_of
from export.revision import source_of

_RESAMPLING: dict[int, Resampling] = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
}  # Pillow's numbers in preprocessor_config.json


LEAST_VOCABULARY = 0.9  # of the model's; BERT's tokenizer has 30522 tokens, BLIP 30524


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        name: the folder's name or the hub id.
        model_class: transformers class of the weights.
        model: in eval mode, FP32, on the CPU.
        tokenizer: transformers' fast tokenizer.
        processor: transformers' image processor (its Pillow backend).
        revision: hub commit, if all this came from a hub.
        licence: from the model card of that commit or in the folder, if it names one.
        image_px: side of the pictures that it was trained with, whatever `model` and `processor` take now.
    """

    name: str
    model_class: str
    model: Any
    tokenizer: Any
    processor: Any
    revision: str | None
    licence: str | None
    image_px: int

    @property
    def resampling(self) -> Resampling:
        """Pillow filter of the image processor, by name."""
        return _RESAMPLING[int(self.processor.resample)]


def load(source: str) -> Checkpoint:
    """Load `source`, a folder with `config.json` and weights or a hub id such as `Salesforce/blip-vqa-base`.

    Of a hub everything is taken from one commit, the newest when this began.

    Raises:
        ExportError: not found, not readable, or of a class no family supports.
    """
    folder = Path(source)
    if folder.exists() and not (folder / "config.json").is_file():
        raise ExportError(f"{folder} is no checkpoint: it has no config.json; give the folder save_pretrained wrote.")
    looks_like_path = source.startswith((".", "/", "~")) or source.count("/") > 1
    if not folder.exists() and looks_like_path:
        raise ExportError(f"The checkpoint folder {folder} does not exist; check the path.")
    name, revision = source_of(source)
    commit = revision or "main"  # of a folder nobody asks
    try:
        config = BlipConfig.get_config_dict(source, revision=commit)[0]
    except (OSError, ValueError, TypeError, AttributeError) as error:  # the last two: JSON, but no object
        raise ExportError(
            f"{source}/config.json cannot be read ({first_line(error)}); copy the checkpoint again."
        ) from error
    model_class = _class_of(source, config)
    try:
        model, loading = blip.CLASSES[model_class].from_pretrained(  # type: ignore[attr-defined]
            source, revision=commit, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source, revision=commit)
        processor = BlipImageProcessorPil.from_pretrained(source, revision=commit)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ExportError(
            f"The checkpoint {source} cannot be loaded as {model_class}: {first_line(error)}; "
            "a checkpoint has config.json, weights, tokenizer and preprocessor_config.json."
        ) from error
    missing = sorted(set(loading["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if missing:  # transformers would fill them with random numbers and go on
        raise ExportError(
            f"The checkpoint {source} lacks {len(missing)} weights of {model_class}, {missing[0]} among them; "
            "it is incomplete or of another class."
        )
    blip.check_supported(model.config)
    known = model.config.text_config.vocab_size
    if len(tokenizer) < LEAST_VOCABULARY * known:  # without its files transformers makes one of the special tokens
        raise ExportError(
            f"The checkpoint {source} has no tokenizer ({len(tokenizer)} tokens, the model knows {known}); "
            "add tokenizer.json or vocab.txt."
        )
    model.eval()
    return Checkpoint(
        name,
        model_class,
        model,
        tokenizer,
        processor,
        revision,
        licence_of(source, revision),
        model.config.vision_config.image_size,
    )


def quiet_transformers() -> None:
    """Keep transformers' own progress bars and advice out of the export's output."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def _class_of(source: str, config: dict[str, Any]) -> str:
    architectures = config.get("architectures") or []
    for name in architectures:
        if name in blip.CLASSES:
            return str(name)
    supported = " and ".join(blip.CLASSES)
    found = ", ".join(architectures) or f"model_type {config.get('model_type', 'unknown')!r}"
    raise ExportError(f"{source} holds {found}; this export takes {supported}. Choose another checkpoint.")
