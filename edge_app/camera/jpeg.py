"""One JPEG of a camera becomes a picture, if it is whole."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.camera import Picture

START = b"\xff\xd8"  # begins every JPEG; OpenCV's other decoders are not for what a stranger sends


def decode_jpeg(data: bytes) -> Picture | None:
    """The picture [H, W, 3] BGR in `data`, or None if it is cut, damaged beyond decoding, or no JPEG at all.

    OpenCV 5 refuses a JPEG of which even the last byte is missing; FFmpeg would fill it up with old rows.
    """
    if not data.startswith(START):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # a header of absurd size: more pixels than OPENCV_IO_MAX_IMAGE_PIXELS
        return None
    return None if image is None or image.size == 0 else np.asarray(image, np.uint8)
