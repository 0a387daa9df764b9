"""A frame as a small JPEG, for whoever wants to see what a rule saw."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST_SIDE_PX = 640
MOST_BYTES = 44 * 1024  # as base64 59 KiB: it fits the link's message of 64 KiB
QUALITIES = (85, 70, 50, 30, 10)


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """A frame [H, W, 3] BGR as JPEG of at most `MOST_BYTES`, in the best quality that allows it."""
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, ::-1]))
    picture.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX), Image.Resampling.BOX)
    while True:
        for quality in QUALITIES:
            target = io.BytesIO()
            picture.save(target, "JPEG", quality=quality)
            if len(found := target.getvalue()) <= MOST_BYTES:
                return found
        picture = picture.reduce(2)  # noise at the worst quality: 640 x 640 has taken 40 kB of it
