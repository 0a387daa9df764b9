"""Captions say what is true of their scene, and scoring counts what they say."""

from __future__ import annotations

import numpy as np
import pytest

from edge_app.demo import language, world
from edge_app.demo.world import Scene, SceneObject
from tests.demo.scenes import row_of, scene, thing

RED, BLUE = thing("red circle", 0.3), "blue square"


@pytest.mark.parametrize(
    ("other", "relation"),
    [
        (thing(BLUE, 0.7), "left of"),
        (thing(BLUE, 0.7, 0.9), "left of"),  # 0.4 down on 0.4 along: not steep
        (thing(BLUE, 0.5, 0.81), "above"),  # 0.31 down on 0.2 along: just over 1.5
        (thing(BLUE, 0.5, 0.79), "left of"),  # 0.29 down on 0.2 along: just under 1.5
        (thing(BLUE, 0.5, 0.19), "below"),
        (thing(BLUE, 0.45, nearness=0.1), "in front of"),
        (thing(BLUE, 0.45, nearness=0.9), "behind"),
        (thing(BLUE, 0.35, 0.45, nearness=0.9), "behind"),  # steep too, but what covers is said first
        (thing(BLUE, 0.497, nearness=0.9), "left of"),  # overlap 0.03: they only just touch
        (thing(BLUE, 0.490, nearness=0.9), "behind"),  # overlap 0.10
        (thing(BLUE, 0.4, 0.74, radius=0.17, nearness=0.9), "behind"),  # 0.26 apart, 0.27 reach: overlap 0.01 / 0.1
    ],
)
def test_relation_by_hand(other: SceneObject, relation: str) -> None:
    """Who covers whom comes first, then up or down where the way is steep, else left of; y points down."""
    assert language.relation(RED, other) == relation
    assert language.caption(scene(RED, other)) == f"a red circle {relation} a blue square"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (scene(), "nothing"),
        (scene(thing("red circle")), "a red circle"),
        (
            scene(thing("orange star", 0.2, 0.2), thing("blue ring", 0.3, 0.8), thing("pink cross", 0.45, 0.8, 0.12)),
            "an orange star above a blue ring behind a pink cross",
        ),
    ],
)
def test_caption_names_objects_left_to_right(shown: Scene, text: str) -> None:
    """One noun phrase an object, its article by the colour's first letter, and what each is to the next one."""
    assert language.caption(shown) == text


def test_every_caption_parses_back_to_its_scene() -> None:
    """`named_objects` is the inverse of `caption`, and every relation occurs."""
    rng = np.random.default_rng(0)
    captions = []
    for index in range(700):
        shown = world.random_scene(rng, index % 7)
        captions.append(language.caption(shown))
        assert language.named_objects(captions[-1]) == list(shown.pairs)
    for relation in language.RELATIONS:
        assert sum(f" {relation} " in text for text in captions) > 50, relation


def test_relations_agree_with_the_places() -> None:
    """Of two neighbours, the one above has the smaller y, the one in front is nearer, and none is right of the next."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        one, other = world.random_scene(rng, 2).objects
        relation = language.relation(one, other)
        assert one.x < other.x
        if relation in ("above", "below"):
            assert (one.y < other.y) == (relation == "above")
            assert world.overlap(one, other) <= language.TOUCHING
        if relation in ("in front of", "behind"):
            assert (one.nearness > other.nearness) == (relation == "in front of")
            assert world.overlap(one, other) > language.TOUCHING


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("A red circle, a blue square.", [("red", "circle"), ("blue", "square")]),
        ("a red circle in front of a red circle", [("red", "circle"), ("red", "circle")]),
        ("a red and a circle", []),
        ("red red star", [("red", "star")]),
        ("circle red", []),
        ("red circles", []),
        ("", []),
    ],
)
def test_named_objects_takes_only_a_colour_directly_before_a_shape(text: str, named: list[world.Pair]) -> None:
    """Case and punctuation do not matter; half a name is no name."""
    assert language.named_objects(text) == named


@pytest.mark.parametrize(
    ("shape", "many"),
    [
        ("circle", "circles"),
        ("square", "squares"),
        ("triangle", "triangles"),
        ("star", "stars"),
        ("cross", "crosses"),
        ("ring", "rings"),
    ],
)
def test_plurals(shape: str, many: str) -> None:
    """An s, and es after an s."""
    assert language.plural(shape) == many


def test_noun_phrases() -> None:
    """ "an" before a vowel, "a" before any other letter."""
    assert [language.noun_phrase((colour, "star")) for colour in ("orange", "blue")] == [
        "an orange star",
        "a blue star",
    ]
    assert language.named(("orange", "star")) == "orange star"


def test_count_right_counts_an_object_once() -> None:
    """Said: red circle twice, blue star; there: red circle, green ring. Right: 1. Twins said twice: 2."""
    said = [("red", "circle"), ("red", "circle"), ("blue", "star")]
    assert language.count_right(said, [("red", "circle"), ("green", "ring")]) == 1
    assert language.count_right(said, [("red", "circle"), ("red", "circle")]) == 2
    assert language.count_right([], row_of(*world.PAIRS[:2]).pairs) == 0
