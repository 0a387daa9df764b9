"""How often what is asked and answered: guessing gains nothing, every kind comes, a withheld pair never does."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from edge_app.demo import language, questions, world
from edge_app.demo.world import Pair
from export.demo.data import KIND_SHARES
from tests.demo.asking import EMPTY, THREE, brought_up
from tests.demo.scenes import row_of, scene, thing


@pytest.mark.parametrize("about", ["pairs", "shapes", "colours"])
def test_presence_is_balanced(about: str) -> None:
    """Half of the answers are "yes", about pairs as about shapes and colours: guessing scores no better than chance."""
    rng = np.random.default_rng(2)
    answers: list[str] = []
    for _ in range(3000):
        question = questions.ask(THREE, rng, "presence")
        assert question is not None
        words = set(question.text.rstrip("?").split())
        named = ("colours" if words & set(world.COLOURS) else "", "shapes" if words & set(world.SHAPES) else "")
        if about == ("pairs" if all(named) else "".join(named)):
            answers.append(question.answer)
    assert len(answers) > 400
    assert answers.count("yes") / len(answers) == pytest.approx(0.5, abs=0.07)


def test_presence_can_be_asked_of_any_scene() -> None:
    """Where every shape is there, so that no shape's absence can be asked for, something else is asked."""
    all_shapes = row_of(*(("red", shape) for shape in world.SHAPES))
    rng = np.random.default_rng(5)
    for shown in (EMPTY, all_shapes):
        made = [questions.ask(shown, rng, "presence") for _ in range(400)]
        assert None not in made
        assert any(question is not None and question.answer == "no" for question in made)


def test_half_of_the_absent_pairs_are_there_by_half() -> None:
    """ "No" to a red star is worth most where there is a red circle; with chance alone 21 of 45 would be near."""
    rng = np.random.default_rng(3)
    made = [question for _ in range(2000) if (question := questions.ask(THREE, rng, "presence")) is not None]
    absent = [pair for question in made if question.answer == "no" for pair in brought_up(question.text)]
    near = [pair for pair in absent if pair[0] in ("red", "orange", "blue") or pair[1] in ("circle", "star")]
    assert len(near) / len(absent) == pytest.approx(0.5 + 0.5 * 25 / 45, abs=0.06)


@pytest.mark.parametrize("kind", ["relation", "bigger"])
def test_yes_and_no_are_equally_frequent(kind: str) -> None:
    """Guessing "yes" is right of half of the questions about relations and sizes, too."""
    small, big = thing("red circle", 0.2, radius=0.09), thing("blue ring", 0.8, radius=0.14)
    rng = np.random.default_rng(4)
    made = [questions.ask(scene(small, big), rng, kind) for _ in range(2000)]
    answers = Counter(question.answer for question in made if question is not None)
    assert answers["yes"] / (answers["yes"] + answers["no"]) == pytest.approx(0.5, abs=0.04)


def test_only_the_pairs_given_are_brought_up() -> None:
    """Training must not say of a withheld pair that it is not there."""
    rng = np.random.default_rng(3)
    named: set[Pair] = set()
    for index in range(4000):
        shown = world.random_scene(rng, index % 7, world.TRAINING_PAIRS)
        question = questions.random_question(shown, rng, world.TRAINING_PAIRS)
        named |= set(brought_up(question.text)) | set(language.named_objects(question.answer))
        counted = {(colour, language.plural(shape)): (colour, shape) for colour, shape in world.PAIRS}
        words = question.text.rstrip("?").split()
        named |= {counted[two] for two in itertools.pairwise(words) if two in counted}
    assert named == set(world.TRAINING_PAIRS)


def test_every_kind_is_asked_of_random_scenes_and_shares_decide_how_often() -> None:
    """Without shares all kinds come; with shares only theirs, about as often as they say."""
    rng = np.random.default_rng(6)
    shown = scene(
        thing("red circle", 0.2, radius=0.15), thing("blue star", 0.5, 0.2, radius=0.1), thing("pink ring", 0.8)
    )
    assert {questions.random_question(shown, rng).kind for _ in range(300)} == set(questions.KINDS)
    kinds = Counter(
        questions.random_question(shown, rng, shares={"presence": 0.75, "count": 0.25}).kind for _ in range(1000)
    )
    assert set(kinds) == {"presence", "count"}
    assert kinds["presence"] / 1000 == pytest.approx(0.75, abs=0.05)


def test_eleven_kinds_have_a_share_in_training() -> None:
    """Every kind that can be asked is trained, and the shares are whole."""
    assert len(questions.KINDS) == 11
    assert set(KIND_SHARES) == set(questions.KINDS)
    assert sum(KIND_SHARES.values()) == pytest.approx(1)
