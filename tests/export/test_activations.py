"""The largest activations of a checkpoint: found wherever they hide, told, and named in the manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from edge_app.model.bundle import open_bundle
from edge_app.model.device import core
from export.__main__ import main
from export.activations import MAXIMA, with_maxima
from tests.checkpoints import save_overflowing


def normed(peak: float) -> ov.Model:
    """[B, 4] -> values of up to `peak`, one of them negative, hidden behind a normalisation and a masked softmax."""
    states = ops.parameter([-1, 4], np.float32, name="states")
    mask = ops.parameter([-1, 4], np.float32, name="mask")
    mask.output(0).get_tensor().set_names({"self_mask"})
    large = ops.multiply(states, ops.constant(np.float32(-peak)), name="large")
    small = ops.mvn(large, ops.constant(np.array([1], np.int64)), True, 1e-6, "inside_sqrt", name="small")
    shares = ops.softmax(ops.add(small, mask, name="masked"), 1, name="shares")
    return ov.Model([ops.result(shares)], [states, mask], "normed")


def test_the_largest_value_is_found_behind_a_normalisation_and_a_mask_is_none() -> None:
    """The outputs are below 1, the mask is -1e4, and 70,000 is in between."""
    model, names = with_maxima(normed(70_000))
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    states, mask = np.array([[1, 0.5, 0, -0.25]], np.float32), np.array([[0, 0, 0, -1e4]], np.float32)
    maxima = dict(zip(names, compiled([states, mask])[MAXIMA], strict=True))
    assert maxima["large"] == pytest.approx(70_000) and maxima["states"] == 1
    assert "masked" not in maxima and "mask" not in maxima
    assert 0 < maxima["shares"] <= 1 and maxima["small"] < 3


def test_a_graph_that_overflows_fp16_is_told_and_named(
    tmp_path: Path, calibration_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Channels of an MLP in vision have hundreds of thousands: vision needs FP32, and no other graph."""
    checkpoint = save_overflowing(tmp_path / "checkpoint")
    command = [str(checkpoint), str(tmp_path / "bundle"), "--precision", "fp32", "--parity-pictures", "0"]
    assert main([*command, "--calibration", str(calibration_folder)]) == 0
    spec = open_bundle(tmp_path / "bundle").manifest.gpu
    assert spec is not None and spec.f32 == ("vision",)
    assert spec.largest_activation["vision"] > 65504
    assert 1 < spec.largest_activation["decoder"] < 6550
    told = capsys.readouterr().out
    assert "warning: vision has" in told and "a GPU computes it in FP32" in told and "warning: decoder" not in told


def test_an_ordinary_bundle_names_no_graph(small_bundle: Callable[..., Path]) -> None:
    """All graphs were measured, those of questions included."""
    manifest = open_bundle(small_bundle("vqa", "int8")).manifest
    assert manifest.gpu is not None and manifest.gpu.f32 == () and manifest.f32_on_gpu == frozenset()
    assert set(manifest.gpu.largest_activation) == set(manifest.roles)
    assert all(0 < value < 6550 for value in manifest.gpu.largest_activation.values())
