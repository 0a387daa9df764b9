"""Captions and questions say what is true of their scene, and scoring counts what they say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edge_app.demo import language, world


def scene_of(*pairs: tuple[str, str]) -> world.Scene:
    """Objects of these pairs from left to right, in the middle of the frame's thirds."""
    return world.Scene(
        tuple(
            world.SceneObject(colour, shape, x=(2 * index + 1) / 6, y=0.5, radius=0.12)
            for index, (colour, shape) in enumerate(pairs)
        )
    )


THREE = scene_of(("red", "circle"), ("orange", "star"), ("blue", "circle"))


@pytest.mark.parametrize(
    ("scene", "text"),
    [
        (scene_of(), "nothing"),
        (scene_of(("red", "circle")), "a red circle"),
        (THREE, "a red circle and an orange star and a blue circle"),
    ],
)
def test_caption_names_objects_left_to_right(scene: world.Scene, text: str) -> None:
    """One noun phrase an object, its article by the colour's first letter, "nothing" for an empty scene."""
    assert language.caption(scene) == text


def test_every_caption_parses_back_to_its_scene() -> None:
    """`named_objects` is the inverse of `caption`."""
    rng = np.random.default_rng(0)
    for index in range(200):
        scene = world.random_scene(rng, index % 4)
        assert language.named_objects(language.caption(scene)) == list(scene.pairs)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A red circle, a blue square.", [("red", "circle"), ("blue", "square")]),
        ("a red and a circle", []),
        ("red red star", [("red", "star")]),
        ("circle red", []),
        ("", []),
    ],
)
def test_named_objects_takes_only_a_colour_directly_before_a_shape(text: str, named: list[world.Pair]) -> None:
    """Case and punctuation do not matter; half a name is no name."""
    assert language.named_objects(text) == named


def test_count_right_counts_an_object_once() -> None:
    """Said: red circle twice, blue star; there: red circle, green ring. Right: 1."""
    said = [("red", "circle"), ("red", "circle"), ("blue", "star")]
    assert language.count_right(said, [("red", "circle"), ("green", "ring")]) == 1


def answers(scene: world.Scene, kind: str) -> dict[str, str]:
    """All questions of a kind that a few hundred draws bring up, with their answers."""
    rng = np.random.default_rng(0)
    asked = (language.ask(scene, rng, kind) for _ in range(600))
    return {question.text: question.answer for question in asked if question is not None}


def test_colour_question_only_about_a_shape_that_is_there_once() -> None:
    """With two circles nobody asks what colour the circle is."""
    found = answers(THREE, "colour")
    assert found["what colour is the star?"] == "orange"
    assert not any("circle" in text for text in found)


def test_shape_question_only_about_a_colour_that_is_there_once() -> None:
    """One object of each colour: every colour may be asked about."""
    found = answers(THREE, "shape")
    assert found["what shape is red?"] == "circle"
    assert found["what is the orange object?"] == "star"
    two_reds = scene_of(("red", "circle"), ("red", "star"))
    assert answers(two_reds, "shape") == {}


def test_presence_answers_agree_with_the_scene() -> None:
    """Pairs, shapes and colours: "yes" exactly when it is there."""
    found = answers(THREE, "presence")
    assert found["is there a red circle?"] == "yes"
    assert found["is there an orange star?"] == "yes"
    assert found["is there a star?"] == "yes"
    assert found["is there anything blue?"] == "yes"
    assert found["is there a ring?"] == "no"
    assert found["is there anything pink?"] == "no"
    for text, answer in found.items():
        for pair in language.named_objects(text.replace("?", "")):
            assert answer == ("yes" if pair in THREE.pairs else "no"), text


def test_presence_is_balanced_and_its_refusals_are_hard() -> None:
    """Half of the answers are "yes"; many absent pairs share a colour or shape with the scene."""
    rng = np.random.default_rng(2)
    asked = [question for _ in range(1000) if (question := language.ask(THREE, rng, "presence")) is not None]
    assert 0.45 < Counter(question.answer for question in asked)["yes"] / len(asked) < 0.55
    absent = [pair for q in asked if q.answer == "no" for pair in language.named_objects(q.text.replace("?", ""))]
    near = [pair for pair in absent if pair[0] in ("red", "orange", "blue") or pair[1] in ("circle", "star")]
    assert len(near) > len(absent) / 2


def test_presence_brings_up_only_the_pairs_it_is_given() -> None:
    """Training must not say of a withheld pair that it is never there."""
    rng = np.random.default_rng(3)
    for _ in range(500):
        question = language.ask(THREE, rng, "presence", world.TRAINING_PAIRS)
        assert question is not None
        if question.answer == "no":
            assert not set(language.named_objects(question.text.replace("?", ""))) & set(world.WITHHELD_PAIRS)


@pytest.mark.parametrize("count", range(world.MOST_OBJECTS + 1))
def test_count_question_gives_a_digit(count: int) -> None:
    """ "0" to "3"."""
    scene = scene_of(*world.PAIRS[:count])
    assert set(answers(scene, "count").values()) == {str(count)}


def test_side_question_names_the_next_object_on_that_side() -> None:
    """The neighbour, not the farthest; "nothing" past the last one."""
    found = answers(THREE, "side")
    assert found["what is left of the blue circle?"] == "an orange star"
    assert found["what is to the right of the red circle?"] == "an orange star"
    assert found["what is right of the blue circle?"] == "nothing"


def test_where_question_asks_about_clear_places_only() -> None:
    """Centres of the thirds are left, middle and right; near a border between thirds nobody asks."""
    assert answers(THREE, "where") == {
        "where is the red circle?": "left",
        "where is the orange star?": "middle",
        "where is the blue circle?": "right",
    }
    border = world.Scene((world.SceneObject("red", "star", x=0.35, y=0.5, radius=0.12),))
    assert answers(border, "where") == {}


def test_empty_scene_can_still_be_asked_about() -> None:
    """Of an empty scene: presence ("no") and count ("0"), nothing else."""
    rng = np.random.default_rng(4)
    asked = [language.random_question(scene_of(), rng) for _ in range(200)]
    assert {(question.kind, question.answer) for question in asked} == {("presence", "no"), ("count", "0")}


def test_vocabulary_covers_every_text() -> None:
    """No caption, question or answer has a word that the tokenizer would not know."""
    words = set(language.vocabulary())
    rng = np.random.default_rng(5)
    for index in range(500):
        scene = world.random_scene(rng, index % 4)
        question = language.random_question(scene, rng)
        for text in (language.caption(scene), question.text, question.answer):
            assert set(text.replace("?", " ?").split()) <= words


def test_shares_decide_which_kinds_are_asked() -> None:
    """Kinds without a share are never asked, the others about as often as their share says."""
    rng = np.random.default_rng(6)
    shares = {"presence": 0.75, "count": 0.25}
    kinds = Counter(language.random_question(THREE, rng, shares=shares).kind for _ in range(1000))
    assert set(kinds) == {"presence", "count"}
    assert kinds["presence"] / 1000 == pytest.approx(0.75, abs=0.05)
