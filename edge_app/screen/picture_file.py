"""The overlay as a picture file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.screen.base import Size

JPEG_SUFFIXES = {".jpg", ".jpeg"}


class PictureFile:
    """A picture that is replaced: PNG, or JPEG if the name says so. A reader always finds a whole one."""

    def __init__(self, path: Path, fps: int = 1) -> None:
        self.period_s = 1 / fps
        self._path = path
        # One fixed name: what a killed process leaves behind is overwritten by the next one.
        self._part = path.with_name(f".{path.name}.part")
        self._suffix = ".jpg" if path.suffix.lower() in JPEG_SUFFIXES else ".png"
        # PNG with the least compression: twice the bytes of the default for a quarter of the time.
        self._options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if self._suffix == ".png" else []

    def prepare(self) -> Size | None:
        """Any size will do."""
        return None

    def show(self, image: NDArray[np.uint8]) -> None:
        """Write `image` [H, W, 3] BGR to the file. OSError if it cannot be encoded or written."""
        is_encoded, encoded = cv2.imencode(self._suffix, image, self._options)
        if not is_encoded:
            raise OSError(
                f"A picture of {image.shape[1]}x{image.shape[0]} pixels cannot be encoded as {self._suffix}; OpenCV "
                "says why, in the line before this one."
            )
        # Without fsync: a picture lost with the power is replaced a second after it is back.
        self._part.write_bytes(encoded.tobytes())
        self._part.replace(self._path)

    def close(self) -> None:
        """Leave the last picture, remove what was half written."""
        self._part.unlink(missing_ok=True)
