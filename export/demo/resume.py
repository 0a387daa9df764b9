"""What training needs to go on another day: its weights in FP32, heads included, and how many steps it has done.

Both are in one file beside the checkpoint, and written with it, so that they never belong to different moments. The
state of the optimiser is not kept; it is warmed up anew.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from transformers import BlipForQuestionAnswering

from export.demo.checkpoint import write_checkpoint
from export.demo.folders import written_whole
from export.demo.losses import Losses
from export.errors import ExportError

TRAINING_NAME = "training.safetensors"
STEPS_KEY = "steps"  # in the file's metadata

log = logging.getLogger("export.demo.train")


def save(full: Losses, out: Path, words: Sequence[str], *, steps: int) -> None:
    """Write the checkpoint and what it takes to go on from it to `out`, replacing it: all of it or nothing.

    Raises ExportError when the disk does not take it.
    """
    model: BlipForQuestionAnswering = full.model
    try:
        with written_whole(out) as folder:
            write_checkpoint(model, folder, words)
            save_model(full, str(folder / TRAINING_NAME), metadata={STEPS_KEY: str(steps)})
    except (OSError, SafetensorError) as error:
        raise ExportError(
            f"The checkpoint cannot be written to {out} ({error}); free some space or choose another place."
        ) from error


def load(full: Losses, start: Path) -> None:
    """Give `full` the weights saved in `start`; ExportError when they are not those of this model, each and all."""
    try:
        load_model(full, start / TRAINING_NAME)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ExportError(
            f"Training cannot go on from {start}: the weights in {TRAINING_NAME} are not those of this model "
            f"({_first_line(error)}); it was written by another version, or for other words."
        ) from error


def steps_done(start: Path) -> int:
    """How many steps the training that wrote `start` had done, in all its runs.

    Raises ExportError when there is nothing in `start` to go on from.
    """
    path = start / TRAINING_NAME
    if not path.is_file():
        raise ExportError(
            f"Training cannot go on from {start}: there is no {path}; give a folder that export.demo.train wrote."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ExportError(
            f"Training cannot go on from {start}: {path} cannot be read ({_first_line(error)}); copy it again."
        ) from error
    if STEPS_KEY not in metadata:
        log.warning("%s does not say how many steps it took; with the same --seed its scenes come again", path)
    return int(metadata.get(STEPS_KEY, 0))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
