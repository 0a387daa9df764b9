"""What the demo says about a scene: captions, their words, and how a caption is scored.

A caption names the objects from left to right, each with what it is to the next one: "a red circle left of a blue
square above a green star". Questions are in `edge_app.demo.questions`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from edge_app.demo.world import COLOURS, SHAPES, Pair, Scene, SceneObject, overlap

NOTHING = "nothing"
RELATIONS = ("left of", "above", "below", "in front of", "behind")

TOUCHING = 0.05  # overlap, of the smaller radius, from which one object is in front of the other
STEEP = 1.5  # height over width of the way between two objects from which one is above the other


def noun_phrase(pair: Pair) -> str:
    """`("orange", "star")` -> "an orange star"."""
    return f"{article(pair[0])} {named(pair)}"


def named(pair: Pair) -> str:
    """`("orange", "star")` -> "orange star"."""
    return " ".join(pair)


def article(word: str) -> str:
    """The indefinite article that the word takes."""
    return "an" if word[0] in "aeiou" else "a"


def plural(shape: str) -> str:
    """`"cross"` -> "crosses"."""
    return shape + ("es" if shape.endswith("s") else "s")


def caption(scene: Scene) -> str:
    """The objects from left to right and their relations, or "nothing"."""
    words = [noun_phrase(item.pair) for item in scene.objects[:1]]
    for one, other in itertools.pairwise(scene.objects):
        words += [relation(one, other), noun_phrase(other.pair)]
    return " ".join(words) or NOTHING


def relation(one: SceneObject, other: SceneObject) -> str:
    """What `one` is to `other`, which lies to its right: one of `RELATIONS`."""
    if overlap(one, other) > TOUCHING:
        return "in front of" if one.nearness > other.nearness else "behind"
    down = other.y - one.y
    if abs(down) > STEEP * abs(other.x - one.x):
        return "above" if down > 0 else "below"
    return "left of"


def named_objects(text: str) -> list[Pair]:
    """The (colour, shape) pairs that a caption names, in its order: each colour directly followed by a shape."""
    words = text.lower().replace(",", " ").replace(".", " ").split()
    return [(one, two) for one, two in itertools.pairwise(words) if one in COLOURS and two in SHAPES]


def count_right(said: Sequence[Pair], true: Sequence[Pair]) -> int:
    """How many of the objects said are there, an object said twice counting once."""
    return (Counter(said) & Counter(true)).total()
