"""A checkpoint whose values do not fit FP16, on a GPU: refused in FP16, served in FP32."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.choice import read_choice, write_choice
from edge_app.model.loading import LoadedModels, load_models
from edge_app.model.placement import Placement
from edge_app.model.tune import tune
from export.__main__ import main
from export.bundle import write_manifest
from tests.checkpoints import save_overflowing

Picture = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory, calibration_folder: Path) -> Path:
    """A bundle whose vision has values of more than 65,504, with a manifest that says so."""
    folder = tmp_path_factory.mktemp("overflowing")
    command = [str(save_overflowing(folder / "checkpoint")), str(folder / "bundle"), "--precision", "fp32"]
    assert main([*command, "--parity-pictures", "0", "--calibration", str(calibration_folder)]) == 0
    return folder / "bundle"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled graphs, for all tests of this file."""
    return tmp_path_factory.mktemp("compiled")


def captions(loaded: LoadedModels, photos: list[Picture]) -> list[tuple[int, ...]]:
    model = loaded.serving("caption")
    return [model.caption(model.encode(photo)).token_ids for photo in photos]


def test_values_beyond_fp16_are_refused_in_f16_and_served_in_f32(
    overflowing: Path, cache: Path, photos: list[Picture]
) -> None:
    """The golden sample sees what is not finite; with what the manifest names, the GPU gives the CPU's tokens."""
    expected = captions(load_models([overflowing], device="CPU", threads=2), photos[:6])
    assert len(set(expected)) > 1, "captions that are all alike would prove nothing"

    f16 = load_models([overflowing], device="GPU", threads=2, cache_dir=cache, gpu_precision="f16")
    assert f16.device == "CPU"
    assert "GPU" in f16.refused["GPU"] and ("not finite" in f16.refused["GPU"] or "golden" in f16.refused["GPU"])

    auto = load_models([overflowing], device="GPU", threads=2, cache_dir=cache)
    assert (auto.device, auto.fallbacks) == ("GPU", ())
    assert auto.info()["bundles"][0]["gpu_f32"] == ["vision"]
    assert captions(auto, photos[:6]) == expected


def test_tune_finds_what_a_bundle_does_not_say(
    overflowing: Path, cache: Path, tmp_path: Path, photos: list[Picture]
) -> None:
    """Without the key in the manifest FP32 is found by logits, kept, and used by AUTO at the next start."""
    bundle = without_key(overflowing, tmp_path / "bundle")
    tuning = tune(bundle, ["GPU"], runs=1, threads=2, cache_dir=cache)
    (trial,) = tuning.trials
    assert trial.placement == Placement("GPU", "GPU", f32=frozenset({"vision"}))
    assert trial.golden.vision_f16 is None and trial.golden.chosen < 0.1
    write_choice(tmp_path, bundle, trial.placement)
    assert read_choice(tmp_path, bundle) == (trial.placement, None)
    loaded = load_models([bundle.path], threads=2, cache_dir=cache, state_dir=tmp_path)
    assert (loaded.device, loaded.info()["bundles"][0]["gpu_f32"]) == ("GPU", ["vision"])
    assert len(captions(loaded, photos[:1])[0]) > 2


def without_key(folder: Path, copy: Path) -> Bundle:
    """A copy of a bundle as it would have been before manifests named graphs."""
    shutil.copytree(folder, copy)
    write_manifest(copy, open_bundle(copy).manifest.model_copy(update={"gpu": None}))
    return open_bundle(copy)
