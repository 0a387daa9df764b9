"""The golden sample accepts the model it was made with, and refuses one that computes something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.errors import DeviceError
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.decoder import Decoder
from edge_app.model.device import Shape
from edge_app.model.golden import golden_picture, verify
from edge_app.model.loading import load_models
from edge_app.model.manifest import ImageSpec
from edge_app.model.vlm import VisionLanguageModel
from edge_app.model.warm_up import WIDE
from tests.model.conftest import shapes_run


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_same_device_reproduces_it(small_bundle: Callable[..., Path], precision: str) -> None:
    """On the CPU that recorded it, the difference is rounding of the record only."""
    model = VisionLanguageModel(open_bundle(small_bundle("vqa", precision)))
    assert verify(model) < 0.01


def test_another_models_record_is_refused(small_bundle: Callable[..., Path]) -> None:
    """A graph that computes other logits than the record is a wrong device: DeviceError with the difference."""
    fp32, int8 = (open_bundle(small_bundle("vqa", precision)) for precision in ("fp32", "int8"))
    assert fp32.manifest.golden is not None
    shuffled = {
        task: text.model_copy(update={"top_logits": tuple(row[::-1] for row in text.top_logits)})
        for task, text in fp32.manifest.golden.texts.items()
    }
    golden = fp32.manifest.golden.model_copy(update={"texts": shuffled})
    wrong = Bundle(int8.path, int8.manifest.model_copy(update={"golden": golden}), "")
    with pytest.raises(DeviceError, match=r"logits are off by \d+\.\d+ standard deviations"):
        verify(VisionLanguageModel(wrong))


def test_a_device_that_is_right_for_the_first_row_alone_is_refused(
    small_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers to rules and to questions that come together would be wrong, and those to a single question right."""
    model = VisionLanguageModel(open_bundle(small_bundle("vqa")))
    forward = Decoder.forward

    def first_row_alone(decoder: Decoder, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        logits = forward(decoder, tokens).copy()
        logits[1:] = logits[1:, :, ::-1]
        return logits

    monkeypatch.setattr(Decoder, "forward", first_row_alone)
    with pytest.raises(DeviceError, match=r"logits in a batch of 2 are off by"):
        verify(model)


def test_weights_that_are_not_numbers_are_refused(
    small_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN pixels make NaN logits, and the decoder says so instead of choosing token 0."""
    model = VisionLanguageModel(open_bundle(small_bundle("vqa")))
    spec = model.manifest.image
    with pytest.raises(DeviceError, match="not finite"):
        nothing = model.encode_pixels(np.full((1, 3, spec.height_px, spec.width_px), np.nan, np.float32))
        model.logits("caption", nothing, None, [1, 2])


def test_a_device_that_is_not_there_is_said_aloud(small_bundle: Callable[..., Path]) -> None:
    """A GPU asked for on a machine without one: the CPU serves, and `fallbacks` says why."""
    loaded = load_models([small_bundle("vqa")], device="GPU.7")
    assert loaded.device == "CPU"
    assert "GPU.7 was asked for, but OpenVINO finds only" in loaded.fallbacks[0]
    assert loaded.info()["requested_device"] == "GPU.7"


def test_a_served_request_is_never_the_first_of_its_kind(
    small_bundle: Callable[..., Path], ran: set[tuple[str, Shape]]
) -> None:
    """Loading runs every graph, those of free lengths with one token, with many, and with a batch."""
    loaded = load_models([small_bundle("vqa")], device="CPU")
    assert {role for role, _ in ran} == set(loaded.models[0].manifest.roles)
    assert {(1, 1), (1, WIDE), (WIDE, 1)} <= shapes_run(ran, "decoder")
    assert {1, WIDE} <= {batch for batch, _ in shapes_run(ran, "question_encoder")}


def test_the_picture_is_the_same_everywhere() -> None:
    """The golden picture is made of integers: its bytes are known, whatever the machine."""
    spec = ImageSpec(
        height_px=4, width_px=3, mean=(0, 0, 0), std=(1, 1, 1), resampling="bicubic",
        prefix_positions=1, patch_rows=1, patch_columns=1,
    )  # fmt: skip
    assert golden_picture(spec)[3].tolist() == [[27, 18, 18], [38, 22, 22], [48, 25, 25]]
