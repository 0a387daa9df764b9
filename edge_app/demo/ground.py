"""What lies behind the objects of the demo world: from one plain colour to boards, tiles, clouds and litter.

Everything here is of low saturation, so that no piece of the ground can be taken for a coloured object.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.demo.world import Ground

Floats = NDArray[np.float32]

CLOUD_CELLS = (3, 7, 17)  # cells along the side of each layer of clouds
CLOUD_TINT = 0.15  # of a cloud's contrast, in colour
LITTER_TINT = 0.1  # by how much of its grey a channel of a piece of litter differs from it


@lru_cache(maxsize=2)  # a camera shows one ground, frame after frame
def draw_ground(ground: Ground, size_px: int) -> NDArray[np.uint8]:
    """The empty frame, [size_px, size_px, 3] BGR; not to be written to."""
    rng = np.random.default_rng(ground.seed)
    light = 1 + np.float32(ground.gradient) * along(ground.gradient_deg, size_px)[:, :, None]  # [S, S, 1]
    if ground.kind == "clouds":
        light = light + np.float32(ground.contrast) * _clouds(rng, size_px)
    elif ground.kind == "planks":
        light = light * _bands(rng, rng.uniform(0, 180), ground.contrast, size_px)
    elif ground.kind == "tiles":
        turn_deg = rng.uniform(0, 90)
        for angle_deg in (turn_deg, turn_deg + 90):
            light = light * _bands(rng, angle_deg, ground.contrast / 2, size_px)
    image: NDArray[np.uint8] = np.clip(light * np.asarray(ground.bgr, np.float32), 0, 255).astype(np.uint8)
    for _ in range(ground.clutter):
        _drop_litter(image, rng)
    image.flags.writeable = False
    return image


def along(angle_deg: float, size_px: int) -> Floats:
    """How far each pixel lies along a direction: -0.7..0.7 of the frame's side. [S, S]"""
    axis = np.linspace(-0.5, 0.5, size_px, dtype=np.float32)
    angle = math.radians(angle_deg)
    places: Floats = axis[None, :] * np.float32(math.cos(angle)) + axis[:, None] * np.float32(math.sin(angle))
    return places


def _clouds(rng: np.random.Generator, size_px: int) -> Floats:
    """Smooth noise of several sizes, mostly grey, about -1..1. [S, S, 3]"""
    total = np.zeros((size_px, size_px, 3), np.float32)
    for layer, cells in enumerate(CLOUD_CELLS):
        grey = rng.standard_normal((cells, cells, 1), dtype=np.float32)
        tint = rng.standard_normal((cells, cells, 3), dtype=np.float32) * np.float32(CLOUD_TINT)
        total += cv2.resize(grey + tint, (size_px, size_px), interpolation=cv2.INTER_CUBIC) * np.float32(0.6**layer)
    return total * np.float32(0.5)


def _bands(rng: np.random.Generator, angle_deg: float, contrast: float, size_px: int) -> Floats:
    """Parallel boards of different brightness, with dark seams, as a factor on the light. [S, S, 1]"""
    boards = rng.uniform(3, 9)
    place = (along(angle_deg, size_px) + 1) * np.float32(boards)
    board = place.astype(np.int32)
    factor = (1 + contrast * rng.uniform(-1, 1, size=int(board.max()) + 1)).astype(np.float32)[board]
    seam = place - board < boards / 64
    factor[seam] *= np.float32(1 - contrast)
    return factor[:, :, None]


def _drop_litter(image: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """One grey line, ellipse or polygon, anywhere."""
    size_px = len(image)
    colour = [
        float(channel) for channel in rng.uniform(20, 230) * rng.uniform(1 - LITTER_TINT, 1 + LITTER_TINT, size=3)
    ]
    centre = rng.uniform(0, size_px, size=2)
    kind = rng.integers(3)
    if kind == 0:
        ends = np.rint(centre + rng.uniform(-0.5, 0.5, size=(2, 2)) * size_px).astype(int)
        width = 1 + int(rng.uniform(0, size_px / 50))
        cv2.line(image, tuple(map(int, ends[0])), tuple(map(int, ends[1])), colour, width, cv2.LINE_AA)
    elif kind == 1:
        axes = rng.uniform(0.01, 0.12, size=2) * size_px
        box = ((float(centre[0]), float(centre[1])), (float(axes[0]) * 2, float(axes[1]) * 2), rng.uniform(0, 180))
        cv2.ellipse(image, box, colour, -1 if rng.random() < 0.6 else 1 + size_px // 80, cv2.LINE_AA)
    else:
        corners = centre + rng.uniform(-0.15, 0.15, size=(int(rng.integers(3, 7)), 2)) * size_px
        cv2.fillPoly(image, [np.rint(corners).astype(np.int32)], colour, cv2.LINE_AA)
