"""One JPEG of a camera becomes a picture, if it is whole."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.camera import Picture

START, END = b"\xff\xd8", b"\xff\xd9"  # the markers that begin and end every JPEG
PADDING = b"\0\r\n"  # what cameras send after the end


def decode_jpeg(data: bytes) -> Picture | None:
    """The picture [H, W, 3] BGR in `data`, or None if it is cut, damaged beyond decoding, or no JPEG at all.

    A cut JPEG is one without its end marker. It is told here because the decoders fill it up (grey, or with the rows
    of the picture before) and only complain on stderr, once a frame.
    """
    if not data.startswith(START) or not data.rstrip(PADDING).endswith(END):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # a header of absurd size: more pixels than OPENCV_IO_MAX_IMAGE_PIXELS
        return None
    return None if image is None or image.size == 0 else np.asarray(image, np.uint8)
