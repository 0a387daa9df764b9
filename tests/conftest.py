"""What many tests share: photos, checkpoints made on the spot, bundles exported from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from tests.kept import kept, lasting_folder, run_folder
from tests.selection import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_ignore_collect,
    pytest_itemcollected,
)

__all__ = ["pytest_addoption", "pytest_collection_modifyitems", "pytest_ignore_collect", "pytest_itemcollected"]

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Torch beside OpenVINO in one process: waiting threads that spin take the cores from each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The same examples in every run; `python -m tests.fuzz` searches with new ones.
settings.register_profile("suite", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("suite")

Picture = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def own_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    """A service that a test starts without a word about its store leaves nothing on this machine, nor for the next."""
    name = f"state-{abs(hash(request.node.nodeid))}"
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path_factory.getbasetemp() / name))  # made only where it is used


@pytest.fixture(autouse=True)
def root_log_as_it_was() -> Iterator[None]:
    """A command that a test calls sets up the log of this process, for all tests after it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def photos() -> list[Picture]:
    """At least 20 real photos, [H, W, 3] BGR."""
    from edge_app.camera.files import load_image
    from tests.photos import photo_paths

    paths = photo_paths()[:24]
    assert len(paths) >= 20, "scikit-image and scikit-learn bundle enough pictures; are they installed?"
    return [load_image(path) for path in paths]


@pytest.fixture(scope="session")
def calibration_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos in a folder of their own."""
    from tests.photos import photo_paths

    folder = tmp_path_factory.mktemp("calibration")
    for path in photo_paths()[:12]:
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from task ("caption", "vqa") to the folder of a small checkpoint of that task."""

    def make(task: str) -> Path:
        return _checkpoint(run_folder(tmp_path_factory), task, "small")

    return make


@pytest.fixture(scope="session")
def small_bundle(
    small_checkpoint: Callable[[str], Path], calibration_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """A function from (task, precision) to a bundle, exported from a small checkpoint by the export's command line."""

    def make(task: str, precision: str = "fp32") -> Path:
        folder = run_folder(tmp_path_factory)
        return _bundle(folder, f"small-{task}-{precision}", small_checkpoint(task), calibration_folder)

    return make


@pytest.fixture(scope="session")
def fullsize_bundle(calibration_folder: Path) -> Callable[[str, str], tuple[Path, Path]]:
    """A function from (task, precision) to (bundle, checkpoint) of a full-size BLIP-base with random weights."""
    folder = lasting_folder()

    def make(task: str, precision: str) -> tuple[Path, Path]:
        checkpoint = _checkpoint(folder, task, "base")
        return _bundle(folder, f"base-{task}-{precision}", checkpoint, calibration_folder), checkpoint

    return make


def _checkpoint(folder: Path, task: str, size: str) -> Path:
    from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering

    from tests.checkpoints import BASE, SMALL, save_checkpoint

    classes = {"caption": BlipForConditionalGeneration, "vqa": BlipForQuestionAnswering}
    shape = {"small": SMALL, "base": BASE}[size]
    return kept(folder / f"{size}-{task}", lambda path: save_checkpoint(path, classes[task], shape))


def _bundle(folder: Path, name: str, checkpoint: Path, calibration: Path) -> Path:
    """Export a bundle; `name` is its size, task and precision."""
    from export.__main__ import main

    size, _, precision = name.split("-")
    pictures = {"small": "2", "base": "0"}[size]

    def export(out: Path) -> None:
        # Its folder is its name in every result.
        command = [str(checkpoint), str(out / name), "--precision", precision, "--parity-pictures", pictures]
        assert main([*command, "--calibration", str(calibration)]) == 0

    return kept(folder / f"{name}-bundle", export) / name
