"""Token merging: which tokens become one, what the merged one is, and how attention counts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
import torch
from numpy.typing import NDArray

from edge_app.model.device import core
from export.checkpoint import load
from export.convert import to_openvino
from export.families import blip
from export.families.blip_reduced import reduced
from export.families.token_merging import Matching, MergingEncoder, merged_sums, schedule
from export.parity import processor_pixels

Picture = NDArray[np.uint8]
POSITIONS = 65  # of the small checkpoint: 8 x 8 patches and the class token


@pytest.fixture(scope="module")
def model(small_checkpoint: Callable[[str], Path]) -> Any:
    return load(str(small_checkpoint("caption"))).model


def embeddings(seed: int, positions: int = POSITIONS, width: int = 80) -> torch.Tensor:
    return torch.randn(1, positions, width, generator=torch.Generator().manual_seed(seed))


def test_each_layer_merges_at_most_half_of_the_patches() -> None:
    """65 tokens, 20 a layer: 65 - 20 = 45; 45 - 20 = 25; then (25 - 1) // 2 = 12, leaving 13; then 6, leaving 7."""
    assert schedule(65, 4, 20) == (20, 20, 12, 6)
    assert schedule(577, 12, 8) == (8,) * 12
    assert schedule(65, 3, 0) == (0, 0, 0)


def test_nothing_merged_is_transformers_encoder(model: Any) -> None:
    """At rate 0 only the writing differs: proportional attention of sizes 1 is attention (measured: 5e-7)."""
    encoder = model.vision_model.encoder
    ours = MergingEncoder(encoder.layers, (0, 0, 0), rate=0)
    with torch.no_grad():
        expected = encoder(inputs_embeds=embeddings(0)).last_hidden_state
        actual = ours(embeddings(0)).last_hidden_state
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def merged_by_hand(
    keys: NDArray[np.float64], states: NDArray[np.float64], sizes: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The paper's matching token by token: keys [heads, N, D], states [N, C], sizes [N] -> states and sizes after."""
    metric = keys.mean(axis=0)
    proposals = []
    for even in range(2, len(states), 2):
        cosine = {
            odd: metric[even] @ metric[odd] / (np.linalg.norm(metric[even]) * np.linalg.norm(metric[odd]))
            for odd in range(1, len(states), 2)
        }
        odd = max(cosine, key=lambda candidate: cosine[candidate])
        proposals.append((cosine[odd], even, odd))
    carried_out = sorted(proposals, reverse=True)[:count]
    gone = [even for _, even, _ in carried_out]
    left = [0, *(even for even in range(2, len(states), 2) if even not in gone), *range(1, len(states), 2)]
    new_states, new_sizes = [], []
    for position in left:
        group = [position, *(even for _, even, odd in carried_out if odd == position)]
        new_sizes.append(sizes[group].sum())
        new_states.append((states[group] * sizes[group, None]).sum(axis=0) / sizes[group].sum())
    return np.array(new_states), np.array(new_sizes)


@pytest.mark.parametrize(("positions", "count"), [(65, 5), (65, 32), (64, 31), (7, 1), (10, 4)])
def test_matching_is_the_papers(positions: int, count: int) -> None:
    """Token for token as written down in loops: odd and even lengths, one pair and all, several into one token."""
    rng = np.random.default_rng(positions + count)
    keys, states = rng.normal(size=(4, positions, 20)), rng.normal(size=(positions, 8))
    keys[:, 0] = keys[:, 2]  # the class token has the double of a patch, and is still merged with none
    sizes = rng.integers(1, 9, positions).astype(float)
    expected_states, expected_sizes = merged_by_hand(keys, states, sizes, count)
    weighted = torch.from_numpy(np.column_stack([states * sizes[:, None], sizes]))[None]
    kept, merged, target = Matching()(torch.from_numpy(keys)[None], count)
    sums = merged_sums(weighted, kept, merged, target)[0].numpy()
    np.testing.assert_allclose(sums[:, -1], expected_sizes)
    np.testing.assert_allclose(sums[:, :-1] / sums[:, -1:], expected_states, atol=1e-12)
    assert sums.shape == (positions - count, 9)
    assert expected_sizes[0] == sizes[0]


def test_merging_equal_tokens_changes_nothing(model: Any) -> None:
    """Every patch there twice, the doubles merged in the first layer: a token of size 2 is attended to as two are.

    So the class token and the others come out as from transformers' encoder of all tokens (measured: 1e-6); without
    the logarithm of the size they are off by 0.01.
    """
    pairs = embeddings(1, 20)[:, 1:]
    doubled = torch.cat([embeddings(2, 1), pairs.repeat_interleave(2, dim=1)], dim=1)  # [1, 39, C]: class, 1, 1, 2, 2
    encoder = model.vision_model.encoder
    ours = MergingEncoder(encoder.layers, (19, 0, 0), rate=19)
    with torch.no_grad():
        expected = encoder(inputs_embeds=doubled).last_hidden_state
        actual = ours(doubled).last_hidden_state
    one_of_each = torch.cat([expected[:, :1], expected[:, 1::2]], dim=1)
    torch.testing.assert_close(actual, one_of_each, atol=1e-4, rtol=0)


def test_openvino_merges_the_same_tokens(small_checkpoint: Callable[[str], Path], photos: list[Picture]) -> None:
    """States of real photos as torch has them (measured: 1e-6), every shape in the graph fixed."""
    checkpoint = load(str(small_checkpoint("caption")))
    source = blip.roles(reduced(checkpoint.model, image_px=96, merge_tokens=6), ("caption",))["vision"]
    graph = to_openvino(source)
    assert all(port.partial_shape.is_static for op in graph.get_ordered_ops() for port in op.outputs())
    compiled: ov.CompiledModel = core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for photo in photos[:6]:
        pixels = processor_pixels(checkpoint, photo)
        with torch.no_grad():
            expected = source.module(torch.from_numpy(pixels)).numpy()
        actual = compiled(pixels)[0]
        assert actual.shape == expected.shape == (1, POSITIONS - 3 * 6, 80)
        np.testing.assert_allclose(actual, expected, atol=1e-3)
