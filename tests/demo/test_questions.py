"""Every question has one right answer, which the scene gives; what a scene leaves open is never asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_app.demo import questions, world
from tests.demo.asking import EMPTY, THREE, TWINS, asked, brought_up
from tests.demo.scenes import pairs_of, row_of, scene, thing


def test_what_names_the_furthest_object() -> None:
    """Far left, far right, top, bottom, biggest."""
    shown = scene(
        thing("red circle", 0.2, 0.5, 0.09), thing("orange star", 0.5, 0.2, 0.1), thing("blue ring", 0.8, 0.8, 0.15)
    )
    assert asked(shown, "what") == {
        "what is on the far left?": "a red circle",
        "which object is on the far left?": "a red circle",
        "what is on the far right?": "a blue ring",
        "which object is on the far right?": "a blue ring",
        "what is at the top?": "an orange star",
        "which object is at the top?": "an orange star",
        "what is at the bottom?": "a blue ring",
        "which object is at the bottom?": "a blue ring",
        "what is the biggest object?": "a blue ring",
        "which object is the biggest?": "a blue ring",
    }


def test_what_is_not_asked_where_two_objects_are_alike() -> None:
    """Heights 0.07 apart leave top open, 0.09 do not; the biggest must be 1.3 times as big as the next one."""
    low, high = thing("red circle", 0.2, 0.50), thing("blue ring", 0.8, 0.43)
    assert not any("top" in text or "bottom" in text or "biggest" in text for text in asked(scene(low, high), "what"))
    assert asked(scene(low, replace(high, y=0.41)), "what")["what is at the top?"] == "a blue ring"
    assert "what is the biggest object?" not in asked(scene(low, replace(high, radius=0.129)), "what")
    assert asked(scene(low, replace(high, radius=0.131)), "what")["what is the biggest object?"] == "a blue ring"


def test_colour_question_only_about_a_shape_that_is_there_once() -> None:
    """With two circles nobody asks what colour the circle is."""
    assert asked(THREE, "colour") == {
        "what colour is the star?": "orange",
        "what color is the star?": "orange",
        "which colour is the star?": "orange",
    }
    assert asked(row_of(*pairs_of("red star,blue star")), "colour") == {}


def test_shape_question_only_about_a_colour_that_is_there_once() -> None:
    """One object of each colour: every colour may be asked about; of two red ones neither."""
    found = asked(THREE, "shape")
    assert found["what shape is the red object?"] == "circle"
    assert found["what is the orange object?"] == "star"
    assert {answer for text, answer in found.items() if "blue" in text} == {"circle"}
    assert asked(row_of(*pairs_of("red circle,red star")), "shape") == {}


def test_presence_answers_agree_with_the_scene() -> None:
    """Pairs, shapes and colours: "yes" exactly when it is there."""
    found = asked(THREE, "presence", draws=3000)
    assert found["is there a red circle?"] == "yes"
    assert found["can you see an orange star?"] == "yes"
    assert found["is there a star?"] == "yes"
    assert found["is there anything blue?"] == "yes"
    assert found["is there an orange object?"] == "yes"
    assert found["can you see a ring?"] == "no"
    assert found["is there anything pink?"] == "no"
    assert found["is there a red star?"] == "no"
    for text, answer in found.items():
        for pair in brought_up(text):
            assert answer == ("yes" if pair in THREE.pairs else "no"), text


@pytest.mark.parametrize("count", range(world.MOST_OBJECTS + 1))
def test_count_of_all_objects(count: int) -> None:
    """ "0" to "6"."""
    found = asked(row_of(*world.PAIRS[:count]), "count")
    assert found["how many objects are there?"] == found["how many shapes are there?"] == str(count)
    assert found["how many objects do you see?"] == str(count)


def test_count_by_shape_colour_and_pair() -> None:
    """Two red circles and a blue star: each is counted by its own feature; what is not there counts 0."""
    found = asked(TWINS, "count", draws=6000)
    assert found["how many circles are there?"] == "2"
    assert found["how many stars do you see?"] == "1"
    assert found["how many red objects are there?"] == found["how many objects are red?"] == "2"
    assert found["how many blue objects are there?"] == "1"
    assert found["how many red circles are there?"] == "2"
    assert found["how many blue stars are there?"] == "1"
    assert found["how many blue circles are there?"] == "0"
    assert found["how many crosses are there?"] == "0"


def test_none_is_the_answer_to_what_takes_the_absent_for_granted() -> None:
    """Where, side, colour and shape of what is not there: always "none", and never about what is there."""
    found = asked(THREE, "none", draws=3000)
    assert set(found.values()) == {"none"}
    assert found["where is the red star?"] == "none"
    assert found["what colour is the ring?"] == "none"
    assert found["what is the pink object?"] == "none"
    for text in found:
        assert not set(brought_up(text)) & set(THREE.pairs)
        words = text.rstrip("?").split()
        if not brought_up(text):
            assert not {"circle", "star", "red", "orange", "blue"} & set(words), text


def test_empty_scene_can_still_be_asked_about() -> None:
    """What is on the left? Nothing. Is there ...? No. How many? 0. Where is ...? None. All else is not asked."""
    rng = np.random.default_rng(4)
    made = [questions.random_question(EMPTY, rng) for _ in range(500)]
    assert {(question.kind, question.answer) for question in made} == {
        ("what", "nothing"),
        ("presence", "no"),
        ("count", "0"),
        ("none", "none"),
    }
