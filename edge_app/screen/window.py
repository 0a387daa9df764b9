"""The overlay in a window of a desktop (X11)."""

from __future__ import annotations

import logging
import os

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.screen.base import Size
from edge_app.screen.desktop import check_desktop

TITLE = "edge-app"
FIRST_SIZE = (1280, 720)
LEAST_SIZE = (320, 180)

log = logging.getLogger(__name__)


class Window:
    """A window that can be resized; a person who closes it has closed it until the display starts again."""

    def __init__(self, fps: int) -> None:
        self.period_s = 1 / fps
        self._is_open = False
        self._was_visible = False
        self._is_closed = False  # by a person

    def prepare(self) -> Size | None:
        """Open the window if it is not open, and return its size."""
        if not self._is_open:
            check_desktop(os.environ.get("DISPLAY"))
            # Free in its ratio: the picture is made in the window's very size, and Qt scales nothing.
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(TITLE, *FIRST_SIZE)
            cv2.pollKey()
            self._is_open = True
        if self._is_closed:
            return LEAST_SIZE
        _, _, width, height_px = cv2.getWindowImageRect(TITLE)
        return max(LEAST_SIZE[0], width), max(LEAST_SIZE[1], height_px)

    def show(self, image: NDArray[np.uint8]) -> None:
        """Show `image` [H, W, 3] BGR, unless the window was closed."""
        if self._is_closed:
            return
        is_visible = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
        if self._was_visible and not is_visible:  # before it is there it is not visible either
            log.info("window closed by its user")
            self._is_closed = True
            return
        self._was_visible = is_visible
        cv2.imshow(TITLE, image)
        cv2.pollKey()  # here Qt paints, and takes in what a person did to the window

    def close(self) -> None:
        """Close the window."""
        if self._is_open:
            cv2.destroyAllWindows()
