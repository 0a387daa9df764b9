"""What the heads are to say of every patch and every word of a question is what the scene shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.demo import language, world
from edge_app.demo.drawing import object_map
from edge_app.demo.world import Scene
from export.demo.checkpoint import IMAGE_PX, PATCH_PX
from export.demo.targets import (
    ABSENT,
    IGNORE,
    MENTIONS,
    PLACE_BINS,
    SIDE,
    SIZE_BINS,
    TASKS,
    mention_targets,
    patch_targets,
)
from tests.demo.scenes import pairs_of, row_of, scene, thing

# A red square, x and y 0.25, radius 0.12: its sides are 2 * 1.15 * 0.12 / sqrt(2) = 0.195, 25 px of 128, from 19.5 to
# 44.5. Of patches of 16 px it covers 12.5 / 16 of the second and the third, both ways: 61 % of four patches.
# A blue circle at (0.5, 0.75), radius 0.1: 0.095 * 128 = 12.2 px around the corner of four patches, 12.2^2 pi / 4 = 116
# of each one's 256 px: 45 %.
TWO = scene(thing("red square", 0.25, 0.25, 0.12), thing("blue circle", 0.5, 0.75, 0.1))
NAMES = list(TASKS)


def grid(shown: Scene, task: str) -> NDArray[Any]:
    """The targets of one task as the patches lie in the frame. [SIDE, SIDE]"""
    return np.asarray(patch_targets(shown)[:, NAMES.index(task)].reshape(SIDE, SIDE))


def at(shown: Scene, row: int, column: int) -> dict[str, int]:
    """All targets of one patch."""
    return dict(zip(NAMES, patch_targets(shown)[row * SIDE + column].tolist(), strict=True))


def colour(name: str) -> int:
    return 1 + list(world.COLOURS).index(name)


def shape(name: str) -> int:
    return 1 + world.SHAPES.index(name)


def test_patches_are_what_covers_a_fifth_of_them() -> None:
    """The square's four patches and the circle's four have their colours and shapes, all others are ground."""
    expected = np.zeros((SIDE, SIDE), int)
    expected[1:3, 1:3] = colour("red")
    expected[5:7, 3:5] = colour("blue")
    assert np.array_equal(grid(TWO, "colour"), expected)
    assert (grid(TWO, "shape")[1:3, 1:3] == shape("square")).all()
    assert (grid(TWO, "shape")[5:7, 3:5] == shape("circle")).all()
    assert ((grid(TWO, "shape") > 0) == (expected > 0)).all()


def test_a_patch_hardly_touched_is_ground() -> None:
    """At a radius of 0.17 the square's sides are 35.4 px, from 14.3 to 49.7: 1.7 / 16 = 11 % of the outer patches.

    At 0.19 they are 39.5 px, from 12.2 to 51.8: 3.8 / 16 = 23 % of the outer ones, and 0.23^2 = 5 % at the corners.
    """
    assert (grid(scene(thing("red square", 0.25, 0.25, 0.17)), "colour") > 0).sum() == 4
    larger = grid(scene(thing("red square", 0.25, 0.25, 0.19)), "colour") > 0
    assert larger.sum() == 4 + 8
    assert not larger[0, 0]


def test_every_patch_knows_its_own_place() -> None:
    """Column and row of the patch itself, on ground and objects alike."""
    assert (grid(TWO, "patch_column") == np.arange(SIDE)).all()
    assert (grid(TWO, "patch_row") == np.arange(SIDE)[:, None]).all()


def test_targets_of_the_first_object_by_hand() -> None:
    """The square is leftmost; 0.25 of 12 bins is bin 3; (0.12 - 0.085) / 0.085 of 6 bins is 2; the circle is below it.

    Down 0.5 on 0.25 along is steep, so the square is above the circle.
    """
    assert at(TWO, 1, 2) == {
        "colour": colour("red"),
        "shape": shape("square"),
        "patch_column": 2,
        "patch_row": 1,
        "rank": 0,
        "x": 3,
        "y": 3,
        "size": 2,
        "left_colour": 0,
        "left_shape": 0,
        "right_colour": colour("blue"),
        "right_shape": shape("circle"),
        "relation": 1 + language.RELATIONS.index("above"),
    }


def test_targets_of_the_last_object_by_hand() -> None:
    """The circle has one object on its left, none on its right and so no relation; x 6, y 9, size 1 of its bins."""
    assert at(TWO, 6, 3) == {
        "colour": colour("blue"),
        "shape": shape("circle"),
        "patch_column": 3,
        "patch_row": 6,
        "rank": 1,
        "x": 6,
        "y": 9,
        "size": 1,
        "left_colour": colour("red"),
        "left_shape": shape("square"),
        "right_colour": 0,
        "right_shape": 0,
        "relation": 0,
    }


def test_the_ground_has_no_part_in_what_is_asked_of_objects() -> None:
    """Colour and shape of a ground patch are "none", its place is its own, and all other tasks ignore it."""
    ground = at(TWO, 0, 7)
    assert [ground.pop(name) for name in ("colour", "shape", "patch_column", "patch_row")] == [0, 0, 7, 0]
    assert set(ground.values()) == {IGNORE}
    assert len(ground) == 9
    assert (patch_targets(scene())[:, 4:] == IGNORE).all()


def test_a_covered_patch_belongs_to_the_nearer_object() -> None:
    """Two squares one over the other: the patch in both shows the one that is nearer."""
    left, right = (
        thing("red square", 0.40, 0.5, 0.17, nearness=0.9),
        thing("blue square", 0.55, 0.5, 0.17, nearness=0.1),
    )
    assert grid(scene(left, right), "colour")[3:5, 3].tolist() == [colour("red")] * 2
    farther = thing("red square", 0.40, 0.5, 0.17, nearness=0.05)
    assert grid(scene(farther, right), "colour")[3:5, 3].tolist() == [colour("blue")] * 2


def test_classes_stay_in_their_range_and_agree_with_the_map() -> None:
    """In random scenes every target is a class of its task or ignored, and all are used; patches follow the map."""
    rng = np.random.default_rng(0)
    used: dict[str, set[int]] = {name: set() for name in NAMES}
    for index in range(700):
        shown = world.random_scene(rng, index % 7)
        targets = patch_targets(shown)
        assert targets.shape == (SIDE * SIDE, len(TASKS))
        for column, name in enumerate(NAMES):
            used[name] |= set(targets[:, column].tolist())
        labels = object_map(shown, IMAGE_PX)
        for patch in rng.choice(SIDE * SIDE, size=6, replace=False):
            row, column = divmod(int(patch), SIDE)
            cell = labels[row * PATCH_PX : (row + 1) * PATCH_PX, column * PATCH_PX : (column + 1) * PATCH_PX]
            rank = targets[patch, NAMES.index("rank")]
            assert (cell == rank + 1).mean() >= 0.2 if rank != IGNORE else (cell > 0).mean() < 0.2 * world.MOST_OBJECTS
    always = {"colour", "shape", "patch_column", "patch_row"}
    for name, classes in TASKS.items():
        expected = set(range(classes)) | (set() if name in always else {IGNORE})
        if name in ("x", "y"):  # a centre is a radius away from the border at least: 0.085 is just over a twelfth
            expected -= {0, PLACE_BINS - 1}
        assert used[name] == expected, name
    assert TASKS["size"] == SIZE_BINS


@pytest.mark.parametrize("pair", world.WITHHELD_PAIRS)
def test_withheld_pairs_can_be_told_by_what_training_shows(pair: world.Pair) -> None:
    """Colour and shape are tasks of their own: a withheld pair has no class but those that other pairs teach."""
    targets = patch_targets(scene(thing(" ".join(pair))))
    shown = targets[targets[:, 0] > 0]
    assert {(row[0], row[1]) for row in shown.tolist()} == {(colour(pair[0]), shape(pair[1]))}
    assert pair[0] in {other for other, _ in world.TRAINING_PAIRS}
    assert pair[1] in {other for _, other in world.TRAINING_PAIRS}


@pytest.mark.parametrize(
    ("question", "meant"),
    [
        # word: (rank of the one object meant, how many there are)
        ("where is the orange star ?", {"star": (1, 1)}),
        ("where is the red star ?", {"star": (ABSENT, 0)}),  # there are a red circle and an orange star
        ("what colour is the star ?", {"star": (1, 1)}),
        ("what colour is the circle ?", {"circle": (IGNORE, 2)}),  # which of the two nobody can say
        ("what colour is the ring ?", {"ring": (ABSENT, 0)}),
        ("how many circles are there ?", {"circles": (IGNORE, 2)}),
        ("how many red circles are there ?", {"circles": (0, 1)}),
        ("how many blue objects are there ?", {"blue": (2, 1)}),
        ("how many objects are red ?", {"red": (0, 1)}),
        ("is there anything pink ?", {"pink": (ABSENT, 0)}),
        ("which is bigger , the red circle or the blue circle ?", {"circle": (2, 1)}),
        ("what is on the far left ?", {}),
        ("how many objects are there ?", {}),
    ],
)
def test_words_mean_the_object_that_they_name(question: str, meant: dict[str, tuple[int, int]]) -> None:
    """The last word of a name stands for its object: which one from the left, and how many; other words for nothing."""
    shown = row_of(*pairs_of("red circle,orange star,blue circle"))
    words = question.split()
    targets = mention_targets(shown, words)
    assert targets.shape == (len(words), len(MENTIONS))
    found = {word: tuple(row) for word, row in zip(words, targets.tolist(), strict=True) if row != [IGNORE, IGNORE]}
    assert found == meant
