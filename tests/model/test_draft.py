"""A draft changes how many passes a text takes, never the text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edge_app.demo
from edge_app.demo.drawing import draw
from edge_app.demo.world import random_scene
from edge_app.model.bundle import open_bundle
from edge_app.model.encoder import Encoding
from edge_app.model.manifest import Generation
from edge_app.model.vlm import VisionLanguageModel

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
SCENES = 12


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    """The shipped demo bundle, its decoder's passes counted."""
    return VisionLanguageModel(open_bundle(DEMO), threads=1)


@pytest.fixture(scope="module")
def plain(model: VisionLanguageModel) -> dict[int, tuple[int, ...]]:
    """Scene -> token ids of its caption, decoded without a draft."""
    return {seed: model.caption(seen(model, seed)).token_ids for seed in range(SCENES)}


def seen(model: VisionLanguageModel, seed: int) -> Encoding:
    rng = np.random.default_rng(seed)
    return model.encode(draw(random_scene(rng, 1 + seed % 6), 160))


def passes(model: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of tokens of each pass of the decoder."""
    widths: list[int] = []
    forward = model._decoder.forward

    def counting(
        tokens: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        widths.append(tokens.shape[1])
        return forward(tokens)

    monkeypatch.setattr(model._decoder, "forward", counting)
    return widths


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_draft_gives_the_tokens_of_plain_decoding(
    data: st.DataObject, model: VisionLanguageModel, plain: dict[int, tuple[int, ...]]
) -> None:
    """Random tokens, other captions, the right one cut short, changed in places or gone on with."""
    seed = data.draw(st.integers(0, SCENES - 1), label="scene")
    token = st.integers(0, model.manifest.text.vocabulary - 1)
    right = list(plain[seed][1:])
    kept = right[: data.draw(st.integers(0, len(right)), label="kept")]
    for place in data.draw(st.lists(st.integers(0, len(right)), max_size=2), label="changed"):
        if place < len(kept):
            kept[place] = data.draw(token)
    draft = [*kept, *data.draw(st.lists(token, max_size=60), label="rest")]
    text = model.caption(seen(model, seed), draft=(plain[seed][0], *draft))
    assert text.token_ids == plain[seed]


def test_wide_pass_computes_what_steps_do(model: VisionLanguageModel, plain: dict[int, tuple[int, ...]]) -> None:
    """Of an INT8 decoder, too: OpenVINO would round the activations of wide passes alone (logits off by up to 0.17)."""
    encoding = seen(model, 5)
    ids = np.array([plain[5]], np.int64)
    memory = encoding.memory("caption_memory")

    def begin() -> None:
        model._decoder.begin(model._cache(memory, model._everywhere, batch=1, capacity=ids.shape[1]))

    begin()
    wide = model._decoder.forward(ids).copy()
    begin()
    steps = [model._decoder.forward(ids[:, i : i + 1])[:, 0].copy() for i in range(ids.shape[1])]
    np.testing.assert_allclose(np.stack(steps, axis=1), wide, atol=1e-4)


def test_right_draft_takes_one_pass(
    model: VisionLanguageModel, plain: dict[int, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caption of the frame before, when nothing has changed."""
    encoding = seen(model, 3)
    widths = passes(model, monkeypatch)
    assert model.caption(encoding, draft=plain[3]).token_ids == plain[3]
    assert widths == [len(plain[3])]


def test_wrong_draft_costs_one_wide_pass(
    model: VisionLanguageModel, plain: dict[int, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first token is taken from the pass all the same; the others one by one."""
    encoding = seen(model, 3)
    widths = passes(model, monkeypatch)
    model.caption(encoding, draft=(plain[3][0], *([model.manifest.tokens.pad] * 5)))
    assert widths == [6, *([1] * (len(plain[3]) - 2))]


def test_draft_with_another_prompt_is_left_out(
    model: VisionLanguageModel, plain: dict[int, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that was changed over MQTT: the old caption does not begin with it."""
    encoding = seen(model, 3)
    expected = model.caption(encoding, prompt="a red").token_ids
    widths = passes(model, monkeypatch)
    assert model.caption(encoding, prompt="a red", draft=plain[3]).token_ids == expected
    assert widths[0] == 3


@pytest.mark.parametrize(
    "options",
    [
        Generation(max_new_tokens=1),
        Generation(max_new_tokens=7),
        Generation(max_new_tokens=12, min_new_tokens=12),
        Generation(max_new_tokens=20, repetition_penalty=1.5),
        Generation(max_new_tokens=8, beams=3),
    ],
    ids=["one token", "short", "forced", "penalty", "beams"],
)
def test_limits_and_penalties_hold_with_a_draft(model: VisionLanguageModel, options: Generation) -> None:
    """The draft is longer than what may be said, ends too early, or says things twice; beams leave it out."""
    encoding = seen(model, 5)
    draft = model.caption(encoding).token_ids
    expected = model.caption(encoding, options=options)
    drafted = model.caption(encoding, options=options, draft=draft)
    assert drafted.token_ids == expected.token_ids
    assert drafted.confidence == pytest.approx(expected.confidence, abs=1e-5)
