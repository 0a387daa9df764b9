"""One JPEG of a camera becomes a picture, if it is whole."""

from __future__ import annotations

import cv2
import numpy as np

from edge_app.camera import Picture

START, END = b"\xff\xd8", b"\xff\xd9"  # the markers that begin and end every JPEG
PADDING = b"\0\r\n"  # what cameras send after the end
UNENDED_BEFORE_TRUST = 10  # less than the damaged frames in a row for which the worker reopens a camera


class JpegDecoder:
    """Decodes the JPEGs of one camera and refuses the cut ones.

    A cut picture lacks the end marker, and OpenCV refuses it then. But a few cameras never send the marker: after
    their first ten pictures they are believed, and the marker is added.
    """

    def __init__(self) -> None:
        self._sends_end = False
        self._unended = 0

    def decode(self, data: bytes) -> Picture | None:
        """The picture [H, W, 3] BGR in `data`, or None if it is cut or no JPEG at all."""
        if not data.startswith(START):
            return None
        data = data.rstrip(PADDING)
        if data.endswith(END):
            self._sends_end = True
        elif self._sends_end or self._unended < UNENDED_BEFORE_TRUST:
            self._unended += 1
            return None
        else:
            data += END
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # a header of absurd size: more pixels than OPENCV_IO_MAX_IMAGE_PIXELS
            return None
        return None if image is None or image.size == 0 else np.asarray(image, np.uint8)
