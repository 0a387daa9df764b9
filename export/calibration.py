"""Pictures of a folder: those that show the quantiser what values to expect, and those held out to judge the result."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_app.camera.files import load_image
from edge_app.errors import BadRequestError
from export.errors import ExportError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
QUESTION_LINES_NAME = "questions.txt"
HELD_OUT_EVERY = 5  # every fifth picture of the folder is never calibrated with

# Used when the folder has no questions.txt: the kinds of question people ask a camera.
DEFAULT_QUESTIONS = (
    "what is in the picture?",
    "is there a person?",
    "how many people are there?",
    "what colour is the car?",
    "is the door open?",
    "where is the dog?",
    "what is the man doing?",
    "is it raining?",
    "what is on the table?",
    "what is to the left of the tree?",
    "are the lights on?",
    "what kind of room is this?",
)


@dataclass(frozen=True)
class Calibration:
    """Pictures [H, W, 3] BGR by path, read one at a time, and questions.

    Attributes:
        folder: where they are from.
        paths: to calibrate with.
        questions: asked in turn.
        held_out: pictures that the quantiser never sees; empty in a folder of fewer than five.
    """

    folder: Path
    paths: tuple[Path, ...]
    questions: tuple[str, ...]
    held_out: tuple[Path, ...] = ()

    def pictures(self) -> Iterator[NDArray[np.uint8]]:
        """The pictures in the order of `paths`."""
        return map(load_image, self.paths)


def read_folder(folder: Path, *, limit: int, hold_out: bool = False) -> Calibration:
    """Up to `limit` pictures spread evenly over the sorted folder, and its questions; see `readable`.

    With `hold_out` every fifth picture is set aside first, so that it is never calibrated with.

    Raises:
        ExportError: no such folder, no readable picture in it, or a `questions.txt` that cannot be read.
    """
    candidates = picture_paths(folder, "calibration")
    aside = candidates[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] if hold_out else []
    remaining = [path for path in candidates if path not in set(aside)]
    chosen = readable(spread(remaining, limit))
    if not chosen:
        raise ExportError(
            f"The calibration folder {folder} has no readable picture ({len(candidates)} files looked like one); "
            "give one with some: a few dozen frames of the board's own camera are best."
        )
    return Calibration(folder, tuple(chosen), read_questions(folder), tuple(aside))


def readable(paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` that are pictures; the others are told on stderr, so that nobody believes they counted."""
    pictures = []
    for path in paths:
        try:
            load_image(path)
        except BadRequestError as error:
            print(f"left out: {error}", file=sys.stderr)
        else:
            pictures.append(path)
    return pictures


def picture_paths(folder: Path, purpose: str) -> list[Path]:
    """Every file below `folder` that is named as a picture, sorted; raises ExportError when there is no such folder."""
    if not folder.is_dir():
        raise ExportError(f"The {purpose} folder {folder} does not exist; give a folder with pictures.")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def read_questions(folder: Path) -> tuple[str, ...]:
    """The lines of `questions.txt`, else the built-in questions; raises ExportError when it cannot be read."""
    path = folder / QUESTION_LINES_NAME
    if not path.is_file():
        return DEFAULT_QUESTIONS
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"The questions {path} cannot be read ({error}); save the file as UTF-8 text.") from error
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line) or DEFAULT_QUESTIONS


def spread(items: Sequence[Path], limit: int) -> list[Path]:
    """At most `limit` of `items`, evenly spread."""
    if len(items) <= limit:
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]
