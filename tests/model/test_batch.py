"""Questions answered as a batch are answered as if each were asked alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edge_app.demo
from edge_app.demo.drawing import draw
from edge_app.demo.world import random_scene
from edge_app.errors import BadRequestError
from edge_app.model.bundle import open_bundle
from edge_app.model.encoder import Encoding
from edge_app.model.manifest import Generation
from edge_app.model.vlm import VisionLanguageModel

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
QUESTIONS = (
    "is there a red circle?",
    "what is on the far left?",
    "how many objects are there?",
    "is the blue star left of the green ring?",
    "what is the biggest object?",
    "where is the pink square",
    "what colour is the cross?",
    "can you see a yellow triangle?",
    "what",
    "how many circles do you see?",
)


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    """The shipped demo bundle."""
    return VisionLanguageModel(open_bundle(DEMO), threads=1)


@pytest.fixture(scope="module")
def encoding(model: VisionLanguageModel) -> Encoding:
    """Five objects."""
    return model.encode(draw(random_scene(np.random.default_rng(4), 5), 200))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(questions=st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=16))
def test_batch_gives_the_answers_of_questions_asked_alone(
    questions: list[str], model: VisionLanguageModel, encoding: Encoding
) -> None:
    """Any questions of any lengths, in any order, repeated or not: tokens, P(yes), confidence."""
    together = model.answers(encoding, questions)
    for question, answer in zip(questions, together, strict=True):
        alone = model.answer(encoding, question)
        assert (answer.text, answer.token_ids) == (alone.text, alone.token_ids)
        assert answer.p_yes == pytest.approx(alone.p_yes, abs=1e-3)
        assert answer.confidence == pytest.approx(alone.confidence, abs=1e-3)


def test_beams_answer_one_after_the_other(model: VisionLanguageModel, encoding: Encoding) -> None:
    """A batch of beams would be a batch of batches; the answers are those of each alone."""
    options = Generation(beams=2, max_new_tokens=6)
    together = model.answers(encoding, QUESTIONS[:3], options=options)
    assert [answer.token_ids for answer in together] == [
        model.answer(encoding, question, options=options).token_ids for question in QUESTIONS[:3]
    ]


def test_region_holds_for_the_whole_batch(model: VisionLanguageModel, encoding: Encoding) -> None:
    """Asked of the left half only."""
    left = (0.0, 0.0, 0.5, 1.0)
    together = model.answers(encoding, QUESTIONS[:4], region=left)
    assert [answer.token_ids for answer in together] == [
        model.answer(encoding, question, region=left).token_ids for question in QUESTIONS[:4]
    ]


def test_no_question_is_refused(model: VisionLanguageModel, encoding: Encoding) -> None:
    """The caller has made a mistake, and nothing is computed."""
    with pytest.raises(BadRequestError, match="give at least one"):
        model.answers(encoding, [])
