"""`sweep.json`: what the bundles of a sweep are made from, kept beside them.

It has the SHA-256 of every file of the checkpoint and of the calibration folder, the options and the versions of the
tools; and for each bundle the SHA-256 of its manifest, which in turn has that of all its files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from edge_app import __version__
from edge_app.model.bundle import sha256_of
from edge_app.model.manifest import Sha256
from export.calibration import QUESTION_LINES_NAME, picture_paths
from export.errors import ExportError
from export.examples import CAPTIONS_NAME, QUESTIONS_NAME
from export.revision import source_of

RECORD_NAME = "sweep.json"
CHECKPOINT_FILES = ("*.json", "*.txt", "*.safetensors", "*.bin", "README.md")  # the last: whose licence it has
TOOLS = ("torch", "transformers", "openvino", "nncf", "tokenizers")

Values = dict[str, JsonValue]
Origin = dict[str, Values]  # {"calibration file": {path: SHA-256}, "option": {name: value}, ...}


class Record(BaseModel):
    """The whole of `sweep.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: Origin
    bundles: dict[str, Sha256]  # variant -> SHA-256 of its manifest


def origin_of(checkpoint: str, calibration: Path, options: Mapping[str, JsonValue]) -> Origin:
    """All that shapes the bundles of a sweep; every file is read.

    Raises:
        ExportError: the checkpoint or the calibration folder is not found, or a file cannot be read.
    """
    name, revision = source_of(checkpoint)
    folder = Path(checkpoint)
    # A hub id is no folder, and its commit stands for the files.
    files = [path for pattern in CHECKPOINT_FILES for path in folder.glob(pattern)] if revision is None else []
    beside = [calibration / name for name in (QUESTION_LINES_NAME, QUESTIONS_NAME, CAPTIONS_NAME)]
    shown = [*picture_paths(calibration, "calibration"), *(path for path in beside if path.is_file())]
    return {
        "checkpoint": {"name": name, "revision": revision},
        "checkpoint file": _hashes(folder, files),
        "calibration file": _hashes(calibration, shown),
        "option": dict(options),
        "tool": {"edge-app": __version__, **{tool: version(tool) for tool in TOOLS}},
    }


def differences(earlier: Origin, now: Origin) -> list[str]:
    """What is not the same, each in a few words: `option max_new_tokens was 20, is 40`."""
    found = []
    for section in dict.fromkeys((*earlier, *now)):
        before, after = earlier.get(section, {}), now.get(section, {})
        names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
        found += [f"{section} {name} {_change(section, before.get(name), after.get(name))}" for name in names]
    return found


def read_record(out: Path) -> Record | None:
    """The record in folder `out`, None where there is none; ExportError when it cannot be read."""
    path = out / RECORD_NAME
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ExportError(
            f"{path}, which tells what the bundles beside it were made from, cannot be read; remove them to have them "
            "made anew, or give another OUT."
        ) from error


def write_record(out: Path, record: Record) -> None:
    """Put `record` into folder `out`, whole or not at all; ExportError when it cannot be written."""
    path = out / RECORD_NAME
    new = out / f".{RECORD_NAME}-{os.getpid()}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        try:
            new.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(f"{path} cannot be written ({error.strerror}); choose another OUT.") from error


def _change(section: str, before: JsonValue, now: JsonValue) -> str:
    if not section.endswith("file"):
        return f"was {before}, is {now}"
    if before is None:
        return "is new"
    return "is gone" if now is None else "has changed"


def _hashes(folder: Path, paths: Iterable[Path]) -> Values:
    """SHA-256 of files, by their paths inside `folder`."""
    try:
        return {path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(paths)}
    except OSError as error:
        raise ExportError(f"{error.filename} cannot be read ({error.strerror}); make it readable.") from error
