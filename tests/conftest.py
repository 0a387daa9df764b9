"""What many tests share: photos, checkpoints made on the spot, bundles exported from them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Torch beside OpenVINO in one process: waiting threads that spin take the cores from each other.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
    from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering

    from tests.checkpoints import SMALL, save_checkpoint

    classes = {"caption": BlipForConditionalGeneration, "vqa": BlipForQuestionAnswering}
    made: dict[str, Path] = {}

    def make(task: str) -> Path:
        if task not in made:
            made[task] = save_checkpoint(tmp_path_factory.mktemp(f"small-{task}"), classes[task], SMALL)
        return made[task]

    return make


@pytest.fixture(scope="session")
def small_bundle(
    small_checkpoint: Callable[[str], Path], calibration_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """A function from (task, precision) to a bundle, exported from a small checkpoint by the export's command line."""
    from export.__main__ import main

    made: dict[tuple[str, str], Path] = {}

    def make(task: str, precision: str = "fp32") -> Path:
        if (task, precision) not in made:
            out = tmp_path_factory.mktemp("bundles") / f"small-{task}-{precision}"
            command = [str(small_checkpoint(task)), str(out), "--precision", precision, "--parity-pictures", "2"]
            assert main([*command, "--calibration", str(calibration_folder)]) == 0
            made[task, precision] = out
        return made[task, precision]

    return make


@pytest.fixture(scope="session")
def fullsize_bundle(
    calibration_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[Path, Path]]:
    """A function from (task, precision) to (bundle, checkpoint) of a full-size BLIP-base with random weights."""
    from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering

    from export.__main__ import main
    from tests.checkpoints import BASE, save_checkpoint

    classes = {"caption": BlipForConditionalGeneration, "vqa": BlipForQuestionAnswering}
    checkpoints: dict[str, Path] = {}
    bundles: dict[tuple[str, str], Path] = {}

    def make(task: str, precision: str) -> tuple[Path, Path]:
        if task not in checkpoints:
            checkpoints[task] = save_checkpoint(tmp_path_factory.mktemp(f"base-{task}"), classes[task], BASE)
        if (task, precision) not in bundles:
            out = tmp_path_factory.mktemp("bundles") / f"base-{task}-{precision}"
            command = [str(checkpoints[task]), str(out), "--precision", precision, "--parity-pictures", "0"]
            assert main([*command, "--calibration", str(calibration_folder)]) == 0
            bundles[task, precision] = out
        return bundles[task, precision], checkpoints[task]

    return make
