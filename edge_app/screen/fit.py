"""A camera's picture in the shape of a screen."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.screen.base import Size

LEAST_HEIGHT_PX = 720  # fewer lines, and the text would not read
MOST: Size = (3840, 2160)  # more pixels would only cost time
SCREEN_SHAPE = 16 / 9  # width by height; narrower pictures get dark pillars, and the text the whole width
PILLAR_BGR = (28, 24, 22)


def own_size(image: NDArray[np.uint8]) -> Size:
    """The size for `image` [H, W, 3] where no screen says one: its own, as far as text reads on it.

    It is as wide as a screen at least, and from 1280x720 to 3840x2160 pixels; the picture is fitted into it.
    """
    height_px, width = image.shape[:2]
    shrunk = min(1.0, MOST[0] / width, MOST[1] / height_px)
    height_px = max(LEAST_HEIGHT_PX, round(height_px * shrunk))
    return max(round(width * shrunk), round(height_px * SCREEN_SHAPE)), height_px


def fitted(image: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """`image` [H, W, 3] in its own proportions, as large as fits into `size`, in the middle of it.

    One that has the size already is returned as it is.
    """
    width, height_px = size
    scale = min(width / image.shape[1], height_px / image.shape[0])
    # Of one side, rounding must not miss the screen's by a pixel.
    inner_width = min(width, max(1, round(image.shape[1] * scale)))
    inner_height_px = min(height_px, max(1, round(image.shape[0] * scale)))
    if image.shape[:2] != (inner_height_px, inner_width):
        # Down to a half, two lines for one skip none; below, the mean of all costs its time.
        way = cv2.INTER_LINEAR if scale > 0.5 else cv2.INTER_AREA
        image = np.asarray(cv2.resize(image, (inner_width, inner_height_px), interpolation=way), dtype=np.uint8)
    left_px, top_px = (width - inner_width) // 2, (height_px - inner_height_px) // 2
    right_px, bottom_px = width - inner_width - left_px, height_px - inner_height_px - top_px
    if not (left_px or top_px or right_px or bottom_px):
        return image
    framed = cv2.copyMakeBorder(image, top_px, bottom_px, left_px, right_px, cv2.BORDER_CONSTANT, value=PILLAR_BGR)
    return np.asarray(framed, dtype=np.uint8)
