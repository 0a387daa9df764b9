"""Pictures to judge a bundle by: what to ask about each, and what a good answer or caption would be.

A folder of pictures may hold two JSON files, both keyed by the picture's path inside the folder. `captions.json` has
reference captions: a list, or an object with such a list as `captions` and anything else beside it. `questions.json`
has a list of questions, each with the answers that count as right; `answers` may be left out.

    {"door.jpg": ["a closed door", "a white door in a hall"]}
    {"door.jpg": [{"question": "is the door open?", "answers": ["no"]}]}

A picture without an entry in `questions.json` is asked one of `questions.txt`, in turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from export.calibration import Calibration, picture_paths, read_questions, readable, spread
from export.errors import ExportError
from export.scores import words

CAPTIONS_NAME = "captions.json"
QUESTIONS_NAME = "questions.json"

Origin = Literal["folder", "held out", "calibration"]


class Question(BaseModel):
    """A question and the answers that count as right; without answers only FP32's own is compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """One picture: its name in the folder, what to ask about it, and its reference captions."""

    path: Path
    name: str
    questions: tuple[Question, ...]
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examples:
    """Pictures to judge by, and where they are from."""

    origin: Origin
    items: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.items)

    def beside(self, calibration: Calibration) -> Examples:
        """These pictures; their origin is "calibration" if `calibration` uses one of them, too."""
        used = {path.resolve() for path in calibration.paths}
        shared = any(example.path.resolve() in used for example in self.items)
        return Examples("calibration", self.items) if shared else self


def from_folder(folder: Path, *, limit: int) -> Examples:
    """Up to `limit` pictures of a folder of its own (`--quality DIR`).

    Raises:
        ExportError: no such folder, no picture, or a JSON file that does not fit.
    """
    paths = picture_paths(folder, "quality")
    if not paths:
        raise ExportError(f"The quality folder {folder} has no picture; give a folder with some.")
    return _examples("folder", folder, paths, read_questions(folder), limit)


def held_out(calibration: Calibration, *, limit: int) -> Examples:
    """Up to `limit` held-out pictures; a folder too small to hold any out is judged by what it calibrated with."""
    if not calibration.held_out:
        return calibrated(calibration, limit=limit)
    return _examples("held out", calibration.folder, calibration.held_out, calibration.questions, limit)


def calibrated(calibration: Calibration, *, limit: int) -> Examples:
    """Up to `limit` of the pictures that were calibrated with."""
    return _examples("calibration", calibration.folder, calibration.paths, calibration.questions, limit)


def _examples(origin: Origin, folder: Path, paths: Sequence[Path], questions: Sequence[str], limit: int) -> Examples:
    captions = _read_captions(folder)
    asked = _read(folder / QUESTIONS_NAME, TypeAdapter(dict[str, tuple[Question, ...]]))
    names = {path.relative_to(folder).as_posix() for path in picture_paths(folder, "quality")}
    for file, entries in ((CAPTIONS_NAME, captions), (QUESTIONS_NAME, asked)):
        if unknown := sorted(set(entries) - names):
            raise ExportError(
                f"{folder / file} names {unknown[0]!r}, which is no picture in that folder "
                f"({len(unknown)} such names); name pictures by their path inside it."
            )
    items = []
    chosen = spread(paths, limit)
    for index, path in enumerate(readable(chosen)):
        name = path.relative_to(folder).as_posix()
        default = (Question(question=questions[index % len(questions)]),)
        items.append(Example(path, name, asked.get(name) or default, captions.get(name, ())))
    if not items:
        raise ExportError(
            f"None of the {len(chosen)} pictures to judge by can be read ({chosen[0]} is the first); "
            "give a folder with some by --quality."
        )
    return Examples(origin, tuple(items))


def _read_captions(folder: Path) -> dict[str, tuple[str, ...]]:
    path = folder / CAPTIONS_NAME
    entries = _read(path, TypeAdapter(dict[str, Any]))
    return {name: _captions(path, name, entry) for name, entry in entries.items()}


def _captions(path: Path, name: str, entry: Any) -> tuple[str, ...]:
    """The captions of one picture: a list, or an object that has one beside other things, such as a licence."""
    captions = entry.get("captions") if isinstance(entry, dict) else entry
    if (
        not isinstance(captions, list)
        or not captions
        or not all(isinstance(caption, str) and words(caption) for caption in captions)
    ):
        raise ExportError(
            f"{path} does not give captions for {name!r}: {json.dumps(entry)[:80]}; "
            'write a list such as ["a closed door"], or an object with such a list as "captions".'
        )
    return tuple(captions)


def _read(path: Path, form: TypeAdapter[Any]) -> Mapping[str, Any]:
    """The JSON object in `path`, checked; empty when there is no such file."""
    if not path.is_file():
        return {}
    try:
        entries: dict[str, Any] = form.validate_python(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ExportError(f"{path} cannot be read ({error}); save it as JSON in UTF-8.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ExportError(
            f"{path} does not have the form docs/bundle.md gives for it: {where}: {first['msg']}; correct it."
        ) from error
    return entries
