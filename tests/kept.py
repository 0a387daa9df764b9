"""Folders that are made once: for all workers of a run, or for all runs until what they are made of changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

from tests.photos import photo_paths

ROOT = Path(__file__).parents[1]
# A full-size bundle is made of these files, by these packages, calibrated with the photos.
MADE_OF = ("export", "edge_app", "tests/checkpoints.py", "tests/conftest.py")
MADE_BY = ("torch", "transformers", "nncf", "openvino", "numpy", "tokenizers", "pillow")
# What the emulated GPU compiles depends on these; what it is compiled from is for OpenVINO's own cache to see.
COMPILED_OF = ("tests/gpu/layer", "requirements/gpu.txt")
COMPILED_BY = ("openvino",)
UNUSED_S = 24 * 3600


def kept(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return `folder`; call `make` with the path to create first if no worker has done so yet."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            make(part)
            part.rename(folder)
    return folder


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all workers of this run share."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"


def lasting_folder() -> Path:
    """Return a folder that outlives the run; its name changes with all that a bundle is made of and by.

    Folders of other states of the tree are removed when they were not used for a day.
    """
    digest = _digest(MADE_OF, MADE_BY)
    digest.update(sys.version.encode())
    for photo in photo_paths():
        digest.update(photo.read_bytes())
    return _kept_between_runs(digest.hexdigest()[:16])


def compiled_folder(name: str) -> Path:
    """Return a folder for what the emulated GPU compiles, which outlives the run in the same way."""
    return _kept_between_runs(f"{name}-{_digest(COMPILED_OF, COMPILED_BY).hexdigest()[:16]}")


def _kept_between_runs(name: str) -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-app-tests"
    folder = home / name
    folder.mkdir(parents=True, exist_ok=True)
    folder.touch()
    for other in home.iterdir():
        if time.time() - other.stat().st_mtime > UNUSED_S:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _digest(files: Sequence[str], packages: Sequence[str]) -> hashlib._Hash:
    digest = hashlib.sha256()
    for package in packages:
        digest.update(f"{package} {version(package)}\0".encode())
    for name in files:
        path = ROOT / name
        for file in sorted([*path.rglob("*.py"), *path.rglob("*.[ch]")]) if path.is_dir() else [path]:
            digest.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest
