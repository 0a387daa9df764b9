"""The key test of a cache: with it equals without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.model.bundle import open_bundle
from edge_app.model.kv_cache import CAPACITY_STEP, MASKED, KvCache
from edge_app.model.vlm import VisionLanguageModel

Picture = NDArray[np.uint8]
TOKENS = np.array([[30522, 1037, 2450, 3564, 2006, 1996, 3509, 2007]])


@pytest.fixture(scope="module")
def model(small_bundle: Callable[..., Path]) -> VisionLanguageModel:
    return VisionLanguageModel(open_bundle(small_bundle("caption")))


def begin(model: VisionLanguageModel, picture: Picture, batch: int = 1) -> KvCache:
    """Start the decoder with an empty cache on `picture`."""
    memory = model.encode(picture).memory("caption_memory")
    cache = model._cache(memory, model._everywhere, batch=batch, capacity=20)
    model._decoder.begin(cache)
    return cache


def test_token_by_token_equals_all_at_once(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """Logits of 8 steps with the cache equal those of one pass without (largest difference measured: 5e-6)."""
    for picture in photos[:5]:
        begin(model, picture)
        whole = model._decoder.forward(TOKENS).copy()
        begin(model, picture)
        steps = [model._decoder.forward(TOKENS[:, i : i + 1])[:, 0].copy() for i in range(TOKENS.shape[1])]
        np.testing.assert_allclose(np.stack(steps, axis=1), whole, atol=1e-4)


def test_a_cut_cache_goes_on_as_if_the_cut_tokens_never_were(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """After truncate(3) the next token's logits do not depend on what stood at position 3 and later."""
    cache = begin(model, photos[0])
    model._decoder.forward(TOKENS)
    cache.truncate(3)
    resumed = model._decoder.forward(TOKENS[:, 3:5]).copy()
    begin(model, photos[0])
    straight = model._decoder.forward(TOKENS[:, :5])[:, 3:].copy()
    np.testing.assert_allclose(resumed, straight, atol=1e-4)


def test_a_reordered_beam_carries_its_history(model: VisionLanguageModel, photos: list[Picture]) -> None:
    """After reorder([1, 1, 0]) rows 0 and 1 continue the history of row 1, row 2 that of row 0."""
    histories = np.array([TOKENS[0, :4], TOKENS[0, 3:7], TOKENS[0, 2:6]])
    cache = begin(model, photos[0], batch=3)
    model._decoder.forward(histories)
    cache.reorder(np.array([1, 1, 0]))
    after = model._decoder.forward(np.full((3, 1), 2007))[:, 0].copy()
    begin(model, photos[0], batch=3)
    straight = model._decoder.forward(np.concatenate([histories[[1, 1, 0]], np.full((3, 1), 2007)], axis=1))[:, -1]
    np.testing.assert_allclose(after, straight, atol=1e-4)


def make_cache(**changes: int) -> KvCache:
    sizes = {"layers": 2, "heads": 3, "head_size": 4, "batch": 1, "capacity": 5} | changes
    return KvCache(**sizes, memory={}, memory_mask=np.zeros((1, 1, 1, 1), np.float32))


def test_mask_shows_the_past_and_no_future() -> None:
    """With 2 positions written, token i of a pass of 3 sees those 2 and the tokens 0..i of the pass."""
    cache = make_cache()
    cache.append([np.ones((1, 3, 2, 4), np.float32)] * 4)
    mask = np.empty((1, 1, 3, cache.capacity + 3), np.float32)
    cache.write_mask(mask)
    visible = (mask[0, 0] == 0).astype(int)
    assert set(np.unique(mask)) == {MASKED, np.float32(0)}
    assert cache.capacity == CAPACITY_STEP
    assert visible[:, : cache.capacity].sum(axis=1).tolist() == [2, 2, 2]
    assert visible[:, :2].all()
    assert visible[:, cache.capacity :].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]


def test_limits_are_refused_with_the_numbers() -> None:
    """Writing past the capacity, or cutting to more than is there, names both numbers."""
    cache = make_cache()
    with pytest.raises(ValueError, match="holds 32 positions, 33 are needed"):
        cache.append([np.ones((1, 3, 33, 4), np.float32)] * 4)
    with pytest.raises(ValueError, match="of 0 positions to 1"):
        cache.truncate(1)
