"""Small scenes made by hand, on a plain ground and without a camera's faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from edge_app.demo.world import Ground, Look, Pair, Scene, SceneObject

GREY = 200
PLAIN = Look(ground=Ground(bgr=(GREY, GREY, GREY)))


def thing(name: str, x: float = 0.5, y: float = 0.5, radius: float = 0.1, **rest: Any) -> SceneObject:
    """`thing("red circle", 0.3)`: an object at this place; `rest` are further fields of `SceneObject`."""
    colour, shape = name.split()
    return SceneObject(colour, shape, x, y, radius, **rest)


def scene(*objects: SceneObject, look: Look = PLAIN) -> Scene:
    """A scene of these objects, sorted from left to right as every scene is."""
    return Scene(tuple(sorted(objects, key=lambda item: item.x)), look)


def row_of(*pairs: Pair) -> Scene:
    """Objects of one size side by side at the height of the middle, each in the middle of its share of the width."""
    return scene(
        *(SceneObject(*pair, (2 * index + 1) / (2 * len(pairs)), 0.5, 0.06) for index, pair in enumerate(pairs))
    )


def pairs_of(names: str) -> list[Pair]:
    """`"red circle, blue star"` -> `[("red", "circle"), ("blue", "star")]`."""
    return [(colour, shape) for colour, shape in (name.split() for name in names.split(",") if name)]


def twins_of(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that are there more than once."""
    return [pair for pair, times in Counter(pairs).items() if times > 1]
