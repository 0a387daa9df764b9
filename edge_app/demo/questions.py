"""What can be asked about a scene of the demo world.

Every question comes with its one right answer; a question that the scene leaves open (two circles, and "what colour is
the circle?") is never asked.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edge_app.demo.language import NOTHING, RELATIONS, article, named, noun_phrase, plural, relation
from edge_app.demo.world import COLOURS, MOST_OBJECTS, PAIRS, SHAPES, Pair, Scene, SceneObject

_T = TypeVar("_T")
Made = tuple[str, str] | None  # a question and its answer, or None where the scene leaves it open

YES, NO = "yes", "no"
NONE = "none"  # the answer to a question about what is not there

# Thirds of the frame, and how far from a border between them an object must be for its place to be clear.
PLACES = ("left", "middle", "right")
PLACE_MARGIN = 0.04  # of the frame's side
CLEARLY_BIGGER = 1.3  # ratio of two radii
CLEARLY_HIGHER = 0.08  # difference of two centres, of the frame's side


@dataclass(frozen=True)
class Question:
    """A question with its right answer; `kind` is one of `KINDS`."""

    kind: str
    text: str
    answer: str


# Templates; one of a row is taken at random. They are data so that the vocabulary can be read off them.
_ROWS: dict[str, tuple[str, ...]] = {
    "leftmost": ("what is on the far left?", "which object is on the far left?"),
    "rightmost": ("what is on the far right?", "which object is on the far right?"),
    "top": ("what is at the top?", "which object is at the top?"),
    "bottom": ("what is at the bottom?", "which object is at the bottom?"),
    "biggest": ("what is the biggest object?", "which object is the biggest?"),
    "colour": ("what colour is the {shape}?", "what color is the {shape}?", "which colour is the {shape}?"),
    "shape": ("what shape is the {colour} object?", "what is the {colour} object?"),
    "presence of a pair": ("is there {phrase}?", "can you see {phrase}?", "do you see {phrase}?"),
    "presence of a shape": ("is there {article} {shape}?", "can you see {article} {shape}?"),
    "presence of a colour": ("is there anything {colour}?", "is there {article} {colour} object?"),
    "count": ("how many objects are there?", "how many shapes are there?", "how many objects do you see?"),
    "count of a shape": ("how many {shapes} are there?", "how many {shapes} do you see?"),
    "count of a colour": ("how many {colour} objects are there?", "how many objects are {colour}?"),
    "count of a pair": ("how many {colour} {shapes} are there?",),
    "side": ("what is {side} of the {one}?", "what is to the {side} of the {one}?"),
    "between": ("what is between the {one} and the {other}?",),
    "where": ("where is the {one}?",),
    "bigger": ("is the {one} bigger than the {other}?",),
    "which is bigger": ("which is bigger, the {one} or the {other}?",),
    "relation": ("is the {one} {relation} the {other}?",),
}


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
    """Every word of every caption, question and answer, and the marks; sorted, each once."""
    words = {"?", ",", NOTHING, NONE, YES, NO, "a", "an", *COLOURS, *SHAPES, *map(plural, SHAPES), *PLACES}
    words |= {str(count) for count in range(MOST_OBJECTS + 1)}
    words |= {word for phrase in RELATIONS for word in phrase.split()}
    spaced = (template.replace("?", " ").replace(",", " ").split() for template in _templates())
    words |= {word for word in itertools.chain.from_iterable(spaced) if "{" not in word}
    return sorted(words)


def _templates() -> Iterator[str]:
    return itertools.chain.from_iterable(_ROWS.values())


def _text(rng: np.random.Generator, row: str, **words: str) -> str:
    return _pick(rng, _ROWS[row]).format(**words)


def _what(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    """The object that goes furthest in one respect, by enough to be clear."""
    row = _pick(rng, ("leftmost", "rightmost", "top", "bottom", "biggest"))
    if not scene.objects:
        return _text(rng, row), NOTHING
    far = {
        "leftmost": lambda item: -item.x,
        "rightmost": lambda item: item.x,
        "top": lambda item: -item.y,
        "bottom": lambda item: item.y,
        "biggest": lambda item: item.radius,
    }[row]
    first, *others = sorted(scene.objects, key=far, reverse=True)
    if others and row in ("top", "bottom") and abs(first.y - others[0].y) < CLEARLY_HIGHER:
        return None
    if others and row == "biggest" and first.radius < CLEARLY_BIGGER * others[0].radius:
        return None
    return _text(rng, row), noun_phrase(first.pair)


def _colour(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    clear = _single([item.shape for item in scene.objects])
    if not clear:
        return None
    item = scene.objects[_pick(rng, clear)]
    return _text(rng, "colour", shape=item.shape), item.colour


def _shape(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    clear = _single([item.colour for item in scene.objects])
    if not clear:
        return None
    item = scene.objects[_pick(rng, clear)]
    return _text(rng, "shape", colour=item.colour), item.shape


def _presence(scene: Scene, rng: np.random.Generator, pairs: Sequence[Pair]) -> Made:
    """Yes and no are equally frequent where there is an object; half of the absent pairs are there by half."""
    yes = bool(scene.objects) and rng.random() < 0.5
    about = rng.choice(3, p=(0.6, 0.2, 0.2))  # a pair, a shape, a colour
    there = {item.shape for item in scene.objects} if about == 1 else {item.colour for item in scene.objects}
    answer = YES if yes else NO
    options = [word for word in (SHAPES if about == 1 else COLOURS) if (word in there) == yes]
    if about == 0 or not options:  # six objects may show every shape, but not every pair
        pair = _pick(rng, scene.pairs) if yes else _absent_pair(scene, rng, pairs)
        return _text(rng, "presence of a pair", phrase=noun_phrase(pair)), answer
    word = _pick(rng, options)
    if about == 1:
        return _text(rng, "presence of a shape", article=article(word), shape=word), answer
    return _text(rng, "presence of a colour", article=article(word), colour=word), answer


def _count(scene: Scene, rng: np.random.Generator, pairs: Sequence[Pair]) -> Made:
    """All objects, or those of a shape, a colour or a pair, mostly of one that is there."""
    about = rng.integers(4)
    if about == 0:
        return _text(rng, "count"), str(len(scene.objects))
    there = bool(scene.objects) and rng.random() < 0.75
    colour, shape = _pick(rng, scene.pairs) if there else _absent_pair(scene, rng, pairs)
    if about == 1:
        return _text(rng, "count of a shape", shapes=plural(shape)), str(sum(s == shape for _, s in scene.pairs))
    if about == 2:
        return _text(rng, "count of a colour", colour=colour), str(sum(c == colour for c, _ in scene.pairs))
    many = str(scene.pairs.count((colour, shape)))
    return _text(rng, "count of a pair", colour=colour, shapes=plural(shape)), many


def _side(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    """The next object on that side; "nothing" past the last one."""
    single = _single(scene.pairs)
    if not single:
        return None
    index = _pick(rng, single)
    side, step = _pick(rng, (("left", -1), ("right", 1)))
    neighbour = index + step
    answer = noun_phrase(scene.objects[neighbour].pair) if 0 <= neighbour < len(scene.objects) else NOTHING
    return _text(rng, "side", side=side, one=named(scene.pairs[index])), answer


def _between(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    """The one object between two others, or "nothing" between neighbours."""
    single = _single(scene.pairs)
    step = 2 if rng.random() < 0.7 else 1
    ends = [(first, first + step) for first in single if first + step in single]
    if not ends:
        return None
    first, last = _pick(rng, ends)
    answer = noun_phrase(scene.pairs[first + 1]) if step == 2 else NOTHING
    one, other = (first, last) if rng.random() < 0.5 else (last, first)
    return _text(rng, "between", one=named(scene.pairs[one]), other=named(scene.pairs[other])), answer


def _where(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    clear = [index for index in _single(scene.pairs) if _place(scene.objects[index]) is not None]
    if not clear:
        return None
    item = scene.objects[_pick(rng, clear)]
    return _text(rng, "where", one=named(item.pair)), str(_place(item))


def _bigger(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    objects = [scene.objects[index] for index in _single(scene.pairs)]
    clear = [
        (one, other)
        for one, other in itertools.permutations(objects, 2)
        if max(one.radius, other.radius) >= CLEARLY_BIGGER * min(one.radius, other.radius)
    ]
    if not clear:
        return None
    one, other = _pick(rng, clear)
    if rng.random() < 0.5:
        bigger = one if one.radius > other.radius else other
        return _text(rng, "which is bigger", one=named(one.pair), other=named(other.pair)), noun_phrase(bigger.pair)
    yes = one.radius > other.radius
    return _text(rng, "bigger", one=named(one.pair), other=named(other.pair)), YES if yes else NO


def _relation(scene: Scene, rng: np.random.Generator, _: Sequence[Pair]) -> Made:
    """Whether a neighbour on the right is what the caption says it is; half of the questions turn it round."""
    single = _single(scene.pairs)
    neighbours = [first for first in single if first + 1 in single]
    if not neighbours:
        return None
    first = _pick(rng, neighbours)
    one, other = scene.objects[first], scene.objects[first + 1]
    true = relation(one, other)
    if rng.random() < 0.5:
        return _text(rng, "relation", one=named(one.pair), relation=true, other=named(other.pair)), YES
    return _text(rng, "relation", one=named(other.pair), relation=true, other=named(one.pair)), NO


def _none(scene: Scene, rng: np.random.Generator, pairs: Sequence[Pair]) -> Made:
    """A question that takes for granted what is not there."""
    pair = _absent_pair(scene, rng, pairs)
    row = _pick(rng, ("where", "side", "colour", "shape"))
    if row in ("where", "side"):
        return _text(rng, row, one=named(pair), side=_pick(rng, ("left", "right"))), NONE
    there = {item.shape for item in scene.objects} | {item.colour for item in scene.objects}
    absent = [word for word in (SHAPES if row == "colour" else COLOURS) if word not in there]
    return (_text(rng, row, **{"shape" if row == "colour" else "colour": _pick(rng, absent)}), NONE) if absent else None


def _single(names: Sequence[object]) -> list[int]:
    """Where the names stand that are there once: the objects that shape, colour or both tell from all others."""
    times = Counter(names)
    return [index for index, name in enumerate(names) if times[name] == 1]


def _absent_pair(scene: Scene, rng: np.random.Generator, pairs: Sequence[Pair]) -> Pair:
    absent = [pair for pair in pairs if pair not in scene.pairs]
    colours, shapes = {item.colour for item in scene.objects}, {item.shape for item in scene.objects}
    near = [pair for pair in absent if pair[0] in colours or pair[1] in shapes]
    return _pick(rng, near if near and rng.random() < 0.5 else absent)


_MAKERS: dict[str, Callable[[Scene, np.random.Generator, Sequence[Pair]], Made]] = {
    "what": _what,
    "colour": _colour,
    "shape": _shape,
    "presence": _presence,
    "count": _count,
    "side": _side,
    "between": _between,
    "where": _where,
    "bigger": _bigger,
    "relation": _relation,
    "none": _none,
}
KINDS: tuple[str, ...] = tuple(_MAKERS)


def _place(item: SceneObject) -> str | None:
    """The third of the frame that the object's centre is in, or None when it is close to a border."""
    thirds = item.x * 3
    if min(abs(thirds - 1), abs(thirds - 2)) < 3 * PLACE_MARGIN:
        return None
    return PLACES[int(thirds)]


def _pick(rng: np.random.Generator, options: Sequence[_T]) -> _T:
    return options[int(rng.integers(len(options)))]
