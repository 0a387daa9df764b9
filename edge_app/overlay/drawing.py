"""Draw what the system sees, says and suffers from on a picture. The same inputs give the same pixels.

Two bands, one along the top (state, rules) and one along the bottom (caption, last question and answer), darken what is
behind them, so that white text reads on any picture. Everything scales with the picture; nothing between the bands
changes. The bands' files say where things stand, as tiles; `overlay.panel` draws a tile once and lays it over pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_app.overlay.bottom import bottom_band
from edge_app.overlay.panel import Panels, Text, Tile
from edge_app.overlay.state import OverlayState
from edge_app.overlay.text import width_px, wrap
from edge_app.overlay.top import top_band
from edge_app.overlay.type import GREY, MARGIN, PADDING, Scale

BACKGROUND_BGR = (56, 48, 44)


class Overlay:
    """Draws on one picture after the other; of the overlay only what has changed is drawn anew."""

    def __init__(self) -> None:
        self._panels = Panels()

    @property
    def drawings(self) -> int:
        """How many pieces have been drawn so far; stands still while nothing changes."""
        return self._panels.drawings

    def draw(
        self,
        picture: NDArray[np.uint8],
        state: OverlayState,
        *,
        now_s: float,
        captured_s: float | None,
        remark: str = "",
    ) -> None:
        """Draw `state` on `picture`, in place.

        Args:
            picture: [H, W, 3] BGR, of any size.
            state: what to say.
            now_s: `time.monotonic()`; ages are told relative to it.
            captured_s: when `picture` was captured, on the same clock; None if it is no camera's picture.
            remark: said in the middle, where there is no picture.
        """
        height_px, width = picture.shape[:2]
        scale = Scale.of(width, height_px)
        tiles = top_band(scale, width, state, now_s, captured_s) + bottom_band(scale, width, height_px, state, now_s)
        self._panels.lay(tiles + _middle(scale, width, height_px, remark), picture)


def render(
    image: NDArray[np.uint8], state: OverlayState, *, now_s: float, captured_s: float | None
) -> NDArray[np.uint8]:
    """Return a copy of `image` [H, W, 3] BGR with the overlay on it; the arguments are those of `Overlay.draw`."""
    picture = image.copy()
    Overlay().draw(picture, state, now_s=now_s, captured_s=captured_s)
    return picture


def placeholder(width: int = 1280, height_px: int = 720) -> NDArray[np.uint8]:
    """A plain dark picture [H, W, 3], for a camera that has not given one yet, or whose picture is not shown."""
    return np.full((height_px, width, 3), BACKGROUND_BGR, np.uint8)


def _middle(scale: Scale, width: int, height_px: int, remark: str) -> list[Tile]:
    """A remark in the middle of the picture."""
    type_ = scale.type(26, GREY)
    pad_px = scale.px(PADDING)
    tiles = []
    for line in wrap(remark, width - 2 * scale.px(MARGIN), 1, type_):
        x_px = (width - width_px(line, type_)) // 2
        # Between the bands as they are when there is little to say: above the middle, since the lower one is higher.
        top_px = round(0.42 * height_px)
        box = (x_px - pad_px, top_px, width - 2 * (x_px - pad_px), 2 * pad_px + type_.line_px)
        tiles.append(Tile(*box, (Text(line, pad_px, pad_px, type_),)))
    return tiles
