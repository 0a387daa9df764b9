"""Every question has one right answer, which the scene gives; what a scene leaves open is never asked."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from edge_app.demo import language, questions, world
from edge_app.demo.world import Pair, Scene
from export.demo.checkpoint import build_tokenizer
from export.demo.data import KIND_SHARES
from export.demo.lengths import ANSWER_TOKENS, CAPTION_TOKENS, QUESTION_TOKENS
from tests.demo.scenes import pairs_of, row_of, scene, thing

THREE = row_of(*pairs_of("red circle,orange star,blue circle"))
TWINS = row_of(*pairs_of("red circle,red circle,blue star"))
EMPTY = scene()


def asked(shown: Scene, kind: str, draws: int = 800) -> dict[str, str]:
    """All questions of a kind that many draws bring up, with their answers."""
    rng = np.random.default_rng(0)
    made = (questions.ask(shown, rng, kind) for _ in range(draws))
    found: dict[str, str] = {}
    for question in made:
        if question is not None:
            assert question.kind == kind
            assert found.setdefault(question.text, question.answer) == question.answer, "one question, one answer"
    return found


def brought_up(text: str) -> list[Pair]:
    """The pairs that a question names."""
    return language.named_objects(text.replace("?", " "))


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


@pytest.mark.parametrize("kind", ["relation", "bigger"])
def test_yes_and_no_are_equally_frequent(kind: str) -> None:
    """Guessing "yes" is right of half of the questions about relations and sizes, too."""
    small, big = thing("red circle", 0.2, radius=0.09), thing("blue ring", 0.8, radius=0.14)
    rng = np.random.default_rng(4)
    made = [questions.ask(scene(small, big), rng, kind) for _ in range(2000)]
    answers = Counter(question.answer for question in made if question is not None)
    assert answers["yes"] / (answers["yes"] + answers["no"]) == pytest.approx(0.5, abs=0.04)


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


def test_vocabulary_covers_every_text_and_every_text_fits_its_row() -> None:
    """No caption, question or answer has a word that the tokenizer would not know, nor one token too many."""
    tokenizer = build_tokenizer()
    unknown = tokenizer.token_to_id("[UNK]")
    rng = np.random.default_rng(5)
    longest = Counter[str]()
    for index in range(3000):
        shown = world.random_scene(rng, index % 7)
        texts = [("caption", language.caption(shown))]
        for kind in questions.KINDS:
            question = questions.ask(shown, rng, kind)
            if question is not None:
                texts += [("question", question.text), ("answer", question.answer)]
        for part, text in texts:
            ids = tokenizer.encode(text).ids
            assert unknown not in ids, text
            longest[part] = max(longest[part], len(ids))
    assert longest["question"] == QUESTION_TOKENS, "the comma and the mark included"
    assert longest["answer"] == ANSWER_TOKENS
    assert longest["caption"] <= CAPTION_TOKENS


def test_the_longest_caption_fits_its_row() -> None:
    """Six objects, each in front of the next: 6 * 3 + 5 * 3 words, a first and a last token make 35."""
    row = [thing("red circle", 0.1 + 0.15 * index, nearness=1 - index / 6) for index in range(6)]
    text = language.caption(scene(*row))
    assert text == " in front of ".join(["a red circle"] * 6)
    assert len(build_tokenizer().encode(text).ids) == 35 == CAPTION_TOKENS


def test_vocabulary_has_no_word_that_nothing_says() -> None:
    """Sorted, each word once, and all of them occur: an output that is never right would only cost."""
    words = questions.vocabulary()
    assert words == sorted(set(words))
    rng = np.random.default_rng(7)
    said: set[str] = set()
    for index in range(4000):
        shown = world.random_scene(rng, index % 7)
        question = questions.random_question(shown, rng)
        for text in (language.caption(shown), question.text, question.answer):
            said |= set(text.replace("?", " ?").replace(",", " ,").split())
    assert said == set(words)
