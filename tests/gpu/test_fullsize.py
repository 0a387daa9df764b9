"""BLIP-base at full size on the GPU, in INT8 as a board has it; only with --full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.model.golden import TOLERANCE, verify
from edge_app.model.loading import load_models

pytestmark = [pytest.mark.full, pytest.mark.fullsize, pytest.mark.timeout(3600)]

PHOTOS = 4
QUESTIONS = ("is there a dog?", "how many people are in the picture?")
LEAST_CORRELATION = 0.999  # measured: 0.9998


def test_blip_base_computes_as_on_the_cpu(
    fullsize_bundle: Callable[[str, str], tuple[Path, Path]], photos: list[NDArray[np.uint8]], cache: Path
) -> None:
    """Logits, not tokens: random weights have ties, which rounding decides."""
    bundle, _ = fullsize_bundle("vqa", "int8")
    loaded = load_models([bundle], device="GPU", cache_dir=cache)
    assert (loaded.device, loaded.fallbacks) == ("GPU", ())
    assert verify(loaded.models[0]) < TOLERANCE / 5  # measured: 0.024
    gpu, cpu = loaded.models[0], load_models([bundle], device="CPU").models[0]
    for photo in photos[:PHOTOS]:
        ours, theirs = gpu.encode(photo), cpu.encode(photo)
        on_gpu, on_cpu = (np.array(each.states.data, np.float64).ravel() for each in (ours, theirs))
        assert np.corrcoef(on_gpu, on_cpu)[0, 1] > LEAST_CORRELATION
        for question in QUESTIONS:
            ids = cpu.answer(theirs, question).token_ids
            found, right = gpu.logits("vqa", ours, question, ids), cpu.logits("vqa", theirs, question, ids)
            assert np.abs(found - right).max() < TOLERANCE * right.std()
