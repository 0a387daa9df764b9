"""What can be said and asked about a scene of the demo world, and how an utterance is scored.

Captions name the objects from left to right. Every question comes with its one right answer; a question that the scene
leaves open (two circles, and "what colour is the circle?") is never asked.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edge_app.demo.world import COLOURS, MOST_OBJECTS, PAIRS, SHAPES, Pair, Scene, SceneObject

_T = TypeVar("_T")

NOTHING = "nothing"
YES, NO = "yes", "no"

# Thirds of the frame, and how far from a border between them an object must be for its place to be clear.
_PLACES = ("left", "middle", "right")
_PLACE_MARGIN = 0.04  # of the frame's side


@dataclass(frozen=True)
class Question:
    """A question with its right answer; `kind` is one of `KINDS`."""

    kind: str
    text: str
    answer: str


def noun_phrase(pair: Pair) -> str:
    """`("orange", "star")` -> "an orange star"."""
    colour, shape = pair
    return f"{_article(colour)} {colour} {shape}"


def caption(scene: Scene) -> str:
    """The objects from left to right, "a red circle and a blue square", or "nothing"."""
    return " and ".join(noun_phrase(pair) for pair in scene.pairs) or NOTHING


def named_objects(text: str) -> list[Pair]:
    """The (colour, shape) pairs that a caption names, in its order: each colour directly followed by a shape."""
    words = text.lower().replace(",", " ").replace(".", " ").split()
    return [(one, two) for one, two in itertools.pairwise(words) if one in COLOURS and two in SHAPES]


def count_right(said: Sequence[Pair], true: Sequence[Pair]) -> int:
    """How many of the objects said are there, an object said twice counting once."""
    return (Counter(said) & Counter(true)).total()


def ask(scene: Scene, rng: np.random.Generator, kind: str, pairs: Sequence[Pair] = PAIRS) -> Question | None:
    """A question of this kind about the scene, or None where the scene leaves every such question open.

    `pairs` are those that a question may bring up without their being there.
    """
    made = _MAKERS[kind](scene, rng, pairs)
    return None if made is None else Question(kind, *made)


def random_question(
    scene: Scene, rng: np.random.Generator, pairs: Sequence[Pair] = PAIRS, shares: Mapping[str, float] | None = None
) -> Question:
    """A question of a kind that the scene allows; "presence" and "count" always do.

    `shares` gives the share of each kind, by default all alike.
    """
    kinds = list(shares or KINDS)
    weights = list(shares.values()) if shares else None
    while True:
        question = ask(scene, rng, kinds[int(rng.choice(len(kinds), p=weights))], pairs)
        if question is not None:
            return question


def vocabulary() -> list[str]:
    """Every word of every caption, question and answer, and the question mark; sorted, each once."""
    words = {"?", NOTHING, YES, NO, "a", "an", "and", *COLOURS, *SHAPES, *_PLACES}
    words |= {str(count) for count in range(MOST_OBJECTS + 1)}
    words |= {word for template in _templates() for word in template.replace("?", "").split() if "{" not in word}
    return sorted(words)


# Templates; one of a row is taken at random. They are data so that the vocabulary can be read off them.
_COLOUR = ("what colour is the {shape}?", "what color is the {shape}?", "which colour is the {shape}?")
_SHAPE = ("what shape is {colour}?", "what shape is the {colour} object?", "what is the {colour} object?")
_PRESENCE_PAIR = ("is there {phrase}?", "can you see {phrase}?", "do you see {phrase}?")
_PRESENCE_SHAPE = ("is there {article} {shape}?", "can you see {article} {shape}?")
_PRESENCE_COLOUR = (
    "is there anything {colour}?",
    "is there something {colour}?",
    "is there {article} {colour} object?",
)
_COUNT = ("how many objects are there?", "how many shapes are there?", "how many objects do you see?")
_SIDE = ("what is {side} of the {colour} {shape}?", "what is to the {side} of the {colour} {shape}?")
_WHERE = ("where is the {colour} {shape}?",)


def _templates() -> Iterator[str]:
    for row in (_COLOUR, _SHAPE, _PRESENCE_PAIR, _PRESENCE_SHAPE, _PRESENCE_COLOUR, _COUNT, _SIDE, _WHERE):
        yield from row


Made = tuple[str, str] | None  # a question and its answer


def _colour(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    shapes = Counter(item.shape for item in scene.objects)
    clear = [item for item in scene.objects if shapes[item.shape] == 1]
    if not clear:
        return None
    item = _pick(rng, clear)
    return _pick(rng, _COLOUR).format(shape=item.shape), item.colour


def _shape(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    colours = Counter(item.colour for item in scene.objects)
    clear = [item for item in scene.objects if colours[item.colour] == 1]
    if not clear:
        return None
    item = _pick(rng, clear)
    return _pick(rng, _SHAPE).format(colour=item.colour), item.shape


def _presence(scene: Scene, rng: np.random.Generator, pairs: Sequence[Pair]) -> Made:
    """Yes and no are equally frequent where there is an object; half of the absent pairs are there by half."""
    yes = bool(scene.objects) and rng.random() < 0.5
    about = rng.choice(3, p=(0.6, 0.2, 0.2))  # a pair, a shape, a colour
    if about == 0:
        pair = _pick(rng, scene.pairs) if yes else _absent_pair(scene, rng, pairs)
        return _pick(rng, _PRESENCE_PAIR).format(phrase=noun_phrase(pair)), YES if yes else NO
    if about == 1:
        there = {item.shape for item in scene.objects}
        shape = _pick(rng, [shape for shape in SHAPES if (shape in there) == yes])
        return _pick(rng, _PRESENCE_SHAPE).format(article=_article(shape), shape=shape), YES if yes else NO
    there = {item.colour for item in scene.objects}
    colour = _pick(rng, [colour for colour in COLOURS if (colour in there) == yes])
    return _pick(rng, _PRESENCE_COLOUR).format(article=_article(colour), colour=colour), YES if yes else NO


def _absent_pair(scene: Scene, rng: np.random.Generator, pairs: Sequence[Pair]) -> Pair:
    absent = [pair for pair in pairs if pair not in scene.pairs]
    colours, shapes = {item.colour for item in scene.objects}, {item.shape for item in scene.objects}
    near = [pair for pair in absent if pair[0] in colours or pair[1] in shapes]
    return _pick(rng, near if near and rng.random() < 0.5 else absent)


def _count(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    return _pick(rng, _COUNT), str(len(scene.objects))


def _side(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    """The next object on that side; "nothing" past the last one."""
    if not scene.objects:
        return None
    index = int(rng.integers(len(scene.objects)))
    side, step = _pick(rng, (("left", -1), ("right", 1)))
    item, neighbour = scene.objects[index], index + step
    answer = noun_phrase(scene.objects[neighbour].pair) if 0 <= neighbour < len(scene.objects) else NOTHING
    return _pick(rng, _SIDE).format(side=side, colour=item.colour, shape=item.shape), answer


def _where(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    clear = [item for item in scene.objects if _place(item) is not None]
    if not clear:
        return None
    item = _pick(rng, clear)
    return _pick(rng, _WHERE).format(colour=item.colour, shape=item.shape), str(_place(item))


_MAKERS: dict[str, Callable[[Scene, np.random.Generator, Sequence[Pair]], Made]] = {
    "colour": _colour,
    "shape": _shape,
    "presence": _presence,
    "count": _count,
    "side": _side,
    "where": _where,
}
KINDS: tuple[str, ...] = tuple(_MAKERS)


def _place(item: SceneObject) -> str | None:
    """The third of the frame that the object's centre is in, or None when it is close to a border."""
    thirds = item.x * 3
    if min(abs(thirds - 1), abs(thirds - 2)) < 3 * _PLACE_MARGIN:
        return None
    return _PLACES[int(thirds)]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    return options[int(rng.integers(len(options)))]
