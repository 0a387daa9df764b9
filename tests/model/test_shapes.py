"""Requests that are rounded up to a closed set of shapes have the texts of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_app.demo.service import bundle_path
from edge_app.model.bundle import open_bundle
from edge_app.model.device import Compiler, Shape
from edge_app.model.encoder import Encoding
from edge_app.model.manifest import Generation, TextSpec
from edge_app.model.result import Text
from edge_app.model.shapes import FREE, Shapes, coarse, fine, shapes_for
from edge_app.model.vlm import VisionLanguageModel
from tests.model.conftest import shapes_run

Picture = NDArray[np.uint8]
Pair = tuple[tuple[VisionLanguageModel, Encoding], tuple[VisionLanguageModel, Encoding]]

WORDS = ("is", "there", "a", "dog", "what", "colour", "the", "cat", "on", "left", "of", "red", "car")
examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=28).map(" ".join)


@pytest.fixture(scope="module", params=[coarse, fine], ids=["GPU's", "CPU's"])
def pair(small_bundle: Callable[..., Path], photos: list[Picture], request: pytest.FixtureRequest) -> Pair:
    """The same graphs with a closed set and with free lengths, both with the same picture encoded."""
    bundle = open_bundle(small_bundle("vqa"))
    compilers: dict[str, Compiler] = {}
    shapes = request.param(bundle.manifest.text)
    rounded, free = (VisionLanguageModel(bundle, compilers=compilers, shapes=each) for each in (shapes, FREE))
    return (rounded, rounded.encode(photos[0])), (free, free.encode(photos[0]))


@pytest.fixture(scope="module")
def text() -> TextSpec:
    return open_bundle(bundle_path()).manifest.text


def assert_same(rounded: Text, free: Text) -> None:
    """Tokens to the last; probabilities but for rounding of FP32 (largest difference measured: 3e-6)."""
    assert rounded.token_ids == free.token_ids
    assert rounded.confidence == pytest.approx(free.confidence, abs=1e-4)
    assert (rounded.p_yes is None) == (free.p_yes is None)
    if free.p_yes is not None:
        assert rounded.p_yes == pytest.approx(free.p_yes, abs=1e-4)


@examples
@given(
    questions=st.lists(texts, min_size=1, max_size=20),
    region=st.sampled_from((None, (0.0, 0.0, 0.5, 1.0))),
    new_tokens=st.integers(1, 12),
)
def test_questions_of_any_length_and_number(
    questions: list[str], region: tuple[float, float, float, float] | None, new_tokens: int, pair: Pair
) -> None:
    """Up to 20 in a batch, which are two batches of a closed set."""
    options = Generation(max_new_tokens=new_tokens)
    rounded, free = (model.answers(encoding, questions, region=region, options=options) for model, encoding in pair)
    for one, other in zip(rounded, free, strict=True):
        assert_same(one, other)


@examples
@given(prompt=st.lists(st.sampled_from(WORDS), max_size=28).map(" ".join), data=st.data())
def test_captions_with_any_prompt_and_draft(prompt: str, data: st.DataObject, pair: Pair) -> None:
    """Drafts that are right, wrong from some place on, or longer than a pass of a closed set."""
    (rounded, seen), (free, also_seen) = pair
    options = Generation(max_new_tokens=data.draw(st.integers(1, 60), label="new tokens"))
    expected = free.caption(also_seen, prompt=prompt, options=options)
    kept = data.draw(st.integers(0, len(expected.token_ids)), label="kept")
    token = st.integers(0, rounded.manifest.text.vocabulary - 1)
    draft = [*expected.token_ids[:kept], *data.draw(st.lists(token, max_size=50), label="rest")]
    assert_same(rounded.caption(seen, prompt=prompt, options=options), expected)
    assert_same(rounded.caption(seen, prompt=prompt, options=options, draft=draft), expected)


@settings(examples, max_examples=25)
@given(
    prompt=st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
    question=texts,
    beams=st.integers(2, 16),
)
def test_beams_of_any_number(prompt: str, question: str, beams: int, pair: Pair) -> None:
    """Rows that pad a batch of beams are no beams."""
    options = Generation(max_new_tokens=8, beams=beams)
    captions = [model.caption(encoding, prompt=prompt, options=options) for model, encoding in pair]
    answers = [model.answers(encoding, [question, "is it red"], options=options) for model, encoding in pair]
    assert_same(*captions)
    for one, other in zip(*answers, strict=True):
        assert_same(one, other)


@settings(examples, max_examples=25)
@given(choices=st.lists(texts, min_size=1, max_size=128, unique=True), question=texts)
def test_choices_of_any_number(choices: list[str], question: str, pair: Pair) -> None:
    """Up to 128, ranked sixteen at a time."""
    assert_same(*(model.answer(encoding, question, choices=choices) for model, encoding in pair))


@examples
@given(data=st.data())
def test_logits_of_any_tokens(data: st.DataObject, pair: Pair) -> None:
    """What the golden sample compares, in one pass or several, up to the model's last position."""
    (rounded, seen), (free, also_seen) = pair
    text = rounded.manifest.text
    ids = data.draw(st.lists(st.integers(0, text.vocabulary - 1), min_size=1, max_size=text.max_positions))
    for task in ("caption", "vqa"):
        expected = free.logits(task, also_seen, "is it red", ids)
        np.testing.assert_allclose(rounded.logits(task, seen, "is it red", ids), expected, atol=1e-3)


def test_only_shapes_of_the_closed_set_are_run(pair: Pair, ran: set[tuple[str, Shape]]) -> None:
    """Questions of every length in batches of every size, beams, choices, prompts, drafts."""
    (model, encoding), _ = pair
    short = Generation(max_new_tokens=2)
    for count in range(1, 18):
        model.answers(
            encoding, [" ".join(WORDS[:1] * (1 + (5 * count + row) % 28)) for row in range(count)], options=short
        )
        model.answer(encoding, "is it red", choices=[f"dog {'cat ' * row}" for row in range(count)])
        model.caption(encoding, draft=[model.manifest.tokens.start] * count * 3)
        model.caption(encoding, prompt="dog " * count, options=Generation(max_new_tokens=2, beams=min(count, 16)))
    shapes = model.shapes
    assert shapes_run(ran, "decoder") <= {(batch, width) for batch in shapes.batches for width in shapes.passes}
    alone = {(1, width) for width in shapes.questions}
    together = {(batch, width) for batch in shapes.batches[1:] for width in shapes.batched_questions}
    assert shapes_run(ran, "question_encoder") <= alone | together


@pytest.mark.parametrize(
    ("device", "with_gpu"),
    [("CPU", False), ("GPU", True), ("GPU.1", True), ("HETERO:GPU,CPU", True), ("HETERO:CPU", False)],
)
def test_a_gpu_has_the_smaller_set(device: str, with_gpu: bool, text: TextSpec) -> None:
    """Wherever it takes part in the text side."""
    assert shapes_for(device, text) == (coarse(text) if with_gpu else fine(text))


@pytest.mark.parametrize("limit", [3, 8, 20, 35, 512, 1024])
@pytest.mark.parametrize("shapes_of", [coarse, fine])
def test_the_longest_question_has_a_width(limit: int, shapes_of: Callable[[TextSpec], Shapes], text: TextSpec) -> None:
    """The set ends with the manifest's longest question, whatever it is."""
    shapes = shapes_of(text.model_copy(update={"max_question_tokens": limit}))
    for width in range(3, limit + 1):
        for batch in (1, 16):
            assert width <= shapes.question_width(width, batch) <= limit
