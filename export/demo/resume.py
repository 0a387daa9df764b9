"""What training needs to go on another day: its weights in FP32, heads included, and how many steps it has done.

Both are in one file beside the checkpoint, and written with it, so that they never belong to different moments. The
state of the optimiser is not kept; it is warmed up anew.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from transformers import BlipForQuestionAnswering

from export.demo.checkpoint import CHECKPOINT_NAMES, write_checkpoint
from export.demo.folders import written_whole
from export.demo.losses import Losses
from export.errors import ExportError, first_line

TRAINING_NAME = "training.safetensors"
STEPS_KEY = "steps"  # in the file's metadata

log = logging.getLogger("export.demo.train")


@dataclass(frozen=True)
class Start:
    """Where training goes on from: a folder that `save` wrote, and the steps done for it in all runs."""

    folder: Path
    steps: int


def check_out(out: Path) -> None:
    """Raise ExportError unless `save` can write at `out` and replaces nothing there but what another training left."""
    try:
        if out.exists() and not out.is_dir():
            raise ExportError(f"{out} is a file; choose another name for the checkpoint.")
        there = {path.name for path in out.iterdir()} if out.exists() else set()
        if there and TRAINING_NAME not in there:
            raise ExportError(
                f"{out} would be replaced, and no training of the demo wrote it: it has no {TRAINING_NAME}; "
                "choose another folder."
            )
        if strange := sorted(there - CHECKPOINT_NAMES - {TRAINING_NAME}):
            raise ExportError(
                f"{out} would be replaced, and training did not write all that is in it ({', '.join(strange)}); "
                "choose another folder, or move these away."
            )
        parent = out.resolve().parent
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=parent):
            pass  # training finds out now that it may write there, not when it is over
    except OSError as error:
        raise ExportError(f"No checkpoint can be written at {out} ({error}); choose another place.") from error


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


def load(full: Losses, folder: Path) -> None:
    """Give `full` the weights saved in `folder`; ExportError when they are not those of this model, each and all."""
    try:
        load_model(full, folder / TRAINING_NAME)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ExportError(
            f"Training cannot go on from {folder}: the weights in {TRAINING_NAME} are not those of this model "
            f"({first_line(error)}); it was written by another version, or for other words."
        ) from error


def read_start(folder: Path) -> Start:
    """What `folder` says of the training that wrote it; its weights come later, see `load`.

    Raises ExportError when there is nothing in `folder` to go on from, or it does not say what it should.
    """
    path = folder / TRAINING_NAME
    if not path.is_file():
        raise ExportError(
            f"Training cannot go on from {folder}: there is no {path}; give a folder that export.demo.train wrote."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ExportError(
            f"Training cannot go on from {folder}: {path} cannot be read ({first_line(error)}); copy it again."
        ) from error
    if STEPS_KEY not in metadata:
        log.warning("%s does not say how many steps it took; with the same --seed its scenes come again", path)
    steps = metadata.get(STEPS_KEY, "0")
    if not steps.isdecimal():
        raise ExportError(
            f"Training cannot go on from {folder}: {path} says that it took {steps!r} steps, which is no whole number; "
            "copy it again."
        )
    return Start(folder, int(steps))
