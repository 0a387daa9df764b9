"""What the renderer knows about every patch of a frame and every word of a question: targets that only training has.

Apart from each patch's own colour, shape and place, the patches of an object say where it stands among the others and
what its neighbours are. Captions and most questions then need no more than to read the right patch; learnt from texts
alone, "what is left of the star?" took longer than all the rest together. The words of a question say which object
they mean, so that the question encoder need not find out from the answers alone that it is to look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_app.demo import language, world
from edge_app.demo.drawing import object_map
from export.demo.checkpoint import IMAGE_PX, PATCH_PX

SIDE = IMAGE_PX // PATCH_PX  # patches along a side of the frame
PATCH_SHARE = 0.2  # of a patch that an object must cover to be what the patch shows
PLACE_BINS = 12
SIZE_BINS = 6
IGNORE = -100  # the target of a task that a patch has no part in, as PyTorch's losses have it

# What a word of a question may mean -> classes: the rank of the one object that it names (the last class: there is
# none such), and how many objects there are of what it names.
MENTIONS: dict[str, int] = {"rank": world.MOST_OBJECTS + 1, "count": world.MOST_OBJECTS + 1}
ABSENT = world.MOST_OBJECTS

_COLOURS, _SHAPES = list(world.COLOURS), list(world.SHAPES)
_SINGULAR = {shape: shape for shape in _SHAPES} | {language.plural(shape): shape for shape in _SHAPES}
# Task -> its classes; 0 stands for "none" in those of colour, shape and relation. Colour and shape are apart, so that
# pairs never seen stay possible.
TASKS: dict[str, int] = {
    "colour": 1 + len(_COLOURS),
    "shape": 1 + len(_SHAPES),
    "patch_column": SIDE,
    "patch_row": SIDE,
    "rank": world.MOST_OBJECTS,  # how many objects are left of this one
    "x": PLACE_BINS,
    "y": PLACE_BINS,
    "size": SIZE_BINS,
    "left_colour": 1 + len(_COLOURS),
    "left_shape": 1 + len(_SHAPES),
    "right_colour": 1 + len(_COLOURS),
    "right_shape": 1 + len(_SHAPES),
    "relation": 1 + len(language.RELATIONS),  # to the neighbour on the right
}


def patch_targets(scene: world.Scene) -> NDArray[np.int64]:
    """The class of each patch, row by row, in each task. [N, tasks]"""
    shown = _object_of_patch(scene)  # [N]: 0 for the ground, else 1 + the object's index
    rows = np.full((1 + len(scene.objects), len(TASKS)), IGNORE, np.int64)
    rows[0, :2] = 0
    for index, item in enumerate(scene.objects):
        rows[1 + index] = _object_targets(scene, index, item)
    targets = rows[shown]
    patches = np.arange(SIDE * SIDE)
    targets[:, 2], targets[:, 3] = patches % SIDE, patches // SIDE
    return targets


def mention_targets(scene: world.Scene, tokens: Sequence[str]) -> NDArray[np.int64]:
    """The classes of each token of a question; `IGNORE` for words that name nothing. [tokens, 2]

    "the red star" names the red star by its last word, "red objects" the red ones by their colour.
    """
    targets = np.full((len(tokens), len(MENTIONS)), IGNORE, np.int64)
    for place, token in enumerate(tokens):
        before = tokens[place - 1] if place else ""
        after = tokens[place + 1] if place + 1 < len(tokens) else ""
        if shape := _SINGULAR.get(token):
            named = [pair[1] == shape and (before not in _COLOURS or pair[0] == before) for pair in scene.pairs]
        elif token in _COLOURS and after not in _SINGULAR:
            named = [pair[0] == token for pair in scene.pairs]
        else:
            continue
        if sum(named) < 2:
            targets[place, 0] = named.index(True) if any(named) else ABSENT
        targets[place, 1] = sum(named)
    return targets


def _object_targets(scene: world.Scene, index: int, item: world.SceneObject) -> list[int]:
    least, most = world.VARIETY.radius
    size = (item.radius - least) / (most - least)
    before = _classes(scene.objects[index - 1]) if index else (0, 0)
    after, relation = (0, 0), 0
    if index + 1 < len(scene.objects):
        neighbour = scene.objects[index + 1]
        after, relation = _classes(neighbour), 1 + language.RELATIONS.index(language.relation(item, neighbour))
    return [
        *_classes(item),
        IGNORE,  # the patch's own column and row are not the object's
        IGNORE,
        index,
        _bin(item.x, PLACE_BINS),
        _bin(item.y, PLACE_BINS),
        _bin(size, SIZE_BINS),
        *before,
        *after,
        relation,
    ]


def _classes(item: world.SceneObject) -> tuple[int, int]:
    return 1 + _COLOURS.index(item.colour), 1 + _SHAPES.index(item.shape)


def _bin(share: float, bins: int) -> int:
    return min(max(int(share * bins), 0), bins - 1)


def _object_of_patch(scene: world.Scene) -> NDArray[np.int64]:
    cells = object_map(scene, IMAGE_PX).reshape(SIDE, PATCH_PX, SIDE, PATCH_PX)
    numbers = np.arange(len(scene.objects) + 1)[:, None, None, None, None]
    share = (cells == numbers).mean(axis=(2, 4))  # [objects + 1, side, PATCH, side, PATCH] -> [objects + 1, side, side]
    share[0] = PATCH_SHARE  # the ground wins where no object covers its least share
    shown: NDArray[np.int64] = share.argmax(axis=0).reshape(-1)
    return shown
