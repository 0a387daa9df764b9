"""What OpenCV's readers of cameras have in common."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.camera import Picture


def retrieved(capture: cv2.VideoCapture) -> Picture | None:
    """The frame that was grabbed last, as the capture gives it; None if it is damaged."""
    ok, image = capture.retrieve()
    if not ok or image is None or image.size == 0:
        return None
    return np.asarray(image, np.uint8)
