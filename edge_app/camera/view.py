"""How a camera's picture is turned and cut before anybody sees it: model, display and recordings get the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from edge_app.camera import Picture
    from edge_app.settings import Box

# Degrees clockwise -> OpenCV's name. Its rotation takes a tenth of the time of a copy of NumPy's turned view.
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class View:
    """Turns pictures clockwise by `rotation` degrees, then takes the part `crop` of them."""

    def __init__(self, rotation: int, crop: Box | None) -> None:
        self._rotation, self._crop = rotation, crop
        # Used again for each picture: fresh memory for 2.7 MB costs more than the turn itself.
        self._turned: Picture | None = None

    def of(self, image: Picture) -> Picture:
        """The view of `image` [H, W, 3]; it holds until the next one.

        Edges lie on the nearest pixel, so that crops which share an edge share no pixel and miss none. What is smaller
        than one pixel is one.
        """
        if self._rotation:
            self._turned = image = np.asarray(cv2.rotate(image, TURNS[self._rotation], self._turned), np.uint8)
        if self._crop is None:
            return image
        height_px, width_px = image.shape[:2]
        left, top, right, bottom = self._crop
        return image[_span(top, bottom, height_px), _span(left, right, width_px)]


def _span(first: float, last: float, size_px: int) -> slice:
    """The pixels of [0, `size_px`) from the fraction `first` to `last`, at least one."""
    begin_px = min(round(first * size_px), size_px - 1)
    return slice(begin_px, max(round(last * size_px), begin_px + 1))
