"""Questions of where objects are and how they compare: asked only where that is clear, never about one of two twins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_app.demo import world
from tests.demo.asking import THREE, TWINS, asked
from tests.demo.scenes import pairs_of, row_of, scene, thing


def test_side_question_names_the_next_object_on_that_side() -> None:
    """The neighbour, not the farthest; "nothing" past the last one."""
    found = asked(THREE, "side")
    assert found["what is left of the blue circle?"] == "an orange star"
    assert found["what is to the right of the red circle?"] == "an orange star"
    assert found["what is right of the blue circle?"] == "nothing"
    assert found["what is to the left of the red circle?"] == "nothing"
    assert len(found) == 3 * 2 * 2


def test_between_names_the_one_object_in_the_middle() -> None:
    """In either order; between neighbours there is nothing, and over two objects nobody asks."""
    four = row_of(*pairs_of("red circle,orange star,blue circle,pink ring"))
    found = asked(four, "between")
    assert found["what is between the red circle and the blue circle?"] == "an orange star"
    assert found["what is between the pink ring and the orange star?"] == "a blue circle"
    assert found["what is between the orange star and the red circle?"] == "nothing"
    assert not any("red circle" in text and "pink ring" in text for text in found)
    assert len(found) == 2 * (2 + 3)
    assert asked(row_of(*pairs_of("red circle")), "between") == {}


def test_where_question_asks_about_clear_places_only() -> None:
    """Centres of the thirds are left, middle and right; within 0.04 of a border between thirds nobody asks."""
    assert asked(THREE, "where") == {
        "where is the red circle?": "left",
        "where is the orange star?": "middle",
        "where is the blue circle?": "right",
    }
    places = {
        x: set(asked(scene(thing("red star", x)), "where").values()) for x in (0.28, 0.30, 0.36, 0.38, 0.63, 0.71)
    }
    assert places == {0.28: {"left"}, 0.30: set(), 0.36: set(), 0.38: {"middle"}, 0.63: set(), 0.71: {"right"}}


def test_bigger_is_asked_only_where_it_is_clear() -> None:
    """Radii of 0.1 and 0.12 leave it open; 0.1 and 0.14 do not, in either order."""
    small, big = thing("red circle", 0.2, radius=0.1), thing("blue ring", 0.8, radius=0.14)
    assert asked(scene(small, replace(big, radius=0.12)), "bigger") == {}
    assert asked(scene(small, big), "bigger") == {
        "is the red circle bigger than the blue ring?": "no",
        "is the blue ring bigger than the red circle?": "yes",
        "which is bigger, the red circle or the blue ring?": "a blue ring",
        "which is bigger, the blue ring or the red circle?": "a blue ring",
    }


@pytest.mark.parametrize(
    ("other", "relation"),
    [
        (thing("blue ring", 0.7), "left of"),
        (thing("blue ring", 0.4, 0.9), "above"),
        (thing("blue ring", 0.4, 0.1), "below"),
        (thing("blue ring", 0.45, nearness=0.1), "in front of"),
        (thing("blue ring", 0.45, nearness=0.9), "behind"),
    ],
)
def test_relation_is_true_one_way_and_false_the_other(other: world.SceneObject, relation: str) -> None:
    """What the caption says of two neighbours is so; turned round it is not."""
    assert asked(scene(thing("red circle", 0.3), other), "relation") == {
        f"is the red circle {relation} the blue ring?": "yes",
        f"is the blue ring {relation} the red circle?": "no",
    }


@pytest.mark.parametrize("kind", ["side", "between", "where", "bigger", "relation"])
def test_twins_are_never_asked_about_as_if_they_were_one(kind: str) -> None:
    """With two red circles, no question is about "the red circle"; as an answer it may be named."""
    sizes = (0.06, 0.1, 0.15)
    shown = scene(*(replace(item, radius=size) for item, size in zip(TWINS.objects, sizes, strict=True)))
    assert not any("red circle" in text for text in asked(shown, kind))


def test_a_twin_may_be_the_answer() -> None:
    """What is left of the blue star is a red circle, whichever of the two."""
    assert asked(TWINS, "side")["what is left of the blue star?"] == "a red circle"
    assert (
        asked(row_of(*pairs_of("blue star,red circle,pink ring,red circle")), "between")[
            "what is between the blue star and the pink ring?"
        ]
        == "a red circle"
    )
