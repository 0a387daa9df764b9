"""A piece of the overlay that is drawn once and laid over many pictures.

Laying letters, chips and darkened bands over a picture is linear in the picture: out = share * picture + ink. Both
follow from drawing the piece twice, on black and on white, so anything that blends can be drawn, and a picture costs
one multiplication and one addition, whatever is written on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.overlay.text import Colour, Type, draw

BAND_DIVISOR = 4  # of the brightness behind a band: white text then has a contrast of at least 10:1


@dataclass(frozen=True)
class Text:
    """One line of cleaned text; `x_px`, `top_px` from the tile's corner."""

    text: str
    x_px: int
    top_px: int
    type: Type


@dataclass(frozen=True)
class Pill:
    """A bar with round ends, filled, and edged if `edge` has a colour."""

    x_px: int
    top_px: int
    width_px: int
    height_px: int
    fill: Colour
    edge: Colour | None = None


@dataclass(frozen=True)
class Tile:
    """A rectangle of a band and what stands on it. Equal tiles look equal, so one is the key of its own drawing."""

    x_px: int
    top_px: int
    width_px: int
    height_px: int
    marks: tuple[Text | Pill, ...]


class Panels:
    """The drawn tiles; those of the last picture are kept, so memory is bounded by two screens."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[Tile, tuple[int, ...]], _Panel] = {}
        self.drawings = 0
        """Tiles drawn so far: stands still while nothing changes."""

    def lay(self, tiles: Iterable[Tile], picture: NDArray[np.uint8]) -> None:
        """Lay `tiles` over `picture` [H, W, 3] BGR, in place. What of them is outside the picture is left out."""
        kept: dict[tuple[Tile, tuple[int, ...]], _Panel] = {}
        for tile in tiles:
            area = picture[
                max(0, tile.top_px) : max(0, tile.top_px + tile.height_px),
                max(0, tile.x_px) : max(0, tile.x_px + tile.width_px),
            ]
            if area.size == 0:
                continue
            key = (tile, area.shape)
            panel = self._drawn.get(key)
            if panel is None:
                panel = _draw(tile, area.shape)
                self.drawings += 1
            kept[key] = panel
            cv2.multiply(area, panel.share, area, scale=1 / 255)
            cv2.add(area, panel.ink, area)
        self._drawn = kept


@dataclass(frozen=True)
class _Panel:
    share: NDArray[np.uint8]
    """[h, w, 3], of 255: how much of the picture shines through."""
    ink: NDArray[np.uint8]
    """[h, w, 3]: what is added to it."""


def _draw(tile: Tile, shape: tuple[int, ...]) -> _Panel:
    black, white = np.zeros(shape, np.uint8), np.full(shape, 255 // BAND_DIVISOR, np.uint8)
    # What of a tile is outside of the picture, above or to the left, is missing from its area.
    left_px, top_px = min(0, tile.x_px), min(0, tile.top_px)
    for mark in tile.marks:
        for area in (black, white):
            if isinstance(mark, Text):
                draw(area, mark.text, mark.x_px + left_px, mark.top_px + top_px, mark.type)
            else:
                _draw_pill(area, mark, mark.x_px + left_px, mark.top_px + top_px)
    # Saturated: where rounding made black brighter than white, nothing shines through.
    return _Panel(np.asarray(cv2.subtract(white, black), dtype=np.uint8), black)


def _draw_pill(area: NDArray[np.uint8], pill: Pill, x_px: int, top_px: int) -> None:
    """Two pills one in the other make an edge: the outer one in its colour, the inner one in the fill."""
    if pill.edge is not None:
        _fill(area, (x_px, top_px, pill.width_px, pill.height_px), pill.edge)
        edge_px = max(1, pill.height_px // 18)
        inner = (x_px + edge_px, top_px + edge_px, pill.width_px - 2 * edge_px, pill.height_px - 2 * edge_px)
        _fill(area, inner, pill.fill)
    else:
        _fill(area, (x_px, top_px, pill.width_px, pill.height_px), pill.fill)


def _fill(area: NDArray[np.uint8], box_px: tuple[int, int, int, int], colour: Colour) -> None:
    """A bar with round ends in the box x, y, width, height."""
    x_px, top_px, width_px, height_px = box_px
    radius_px = max(0, (min(height_px, width_px) - 1) // 2)
    first, last = x_px + radius_px, x_px + width_px - 1 - radius_px
    middle_px = top_px + radius_px
    for centre in (first, last):
        cv2.circle(area, (centre, middle_px), radius_px, colour, cv2.FILLED, cv2.LINE_AA)
    cv2.rectangle(area, (first, middle_px - radius_px), (last, middle_px + radius_px), colour, cv2.FILLED)
