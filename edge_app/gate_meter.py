"""Whether a picture stands still, frame by frame: blocks of it, compared with those at the last change.

Sensor noise goes by the averaging of a block and by a threshold that follows what noise is left. Light that flickers
changes a row of blocks by one factor (mains light and a rolling shutter make bands across the frame), so each row is
compared but for such a factor, as long as it is small. Comparing with the last change, not with the last frame, lets
what changes slowly add up until it counts.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 18, 32  # blocks: what is smaller than about one of them may go unseen
SAMPLE_ROWS, SAMPLE_COLUMNS = 6 * ROWS, 15 * COLUMNS  # of pixels that are looked at, at most
LEAST_STEP, MOST_STEP = 4.0, 12.0  # grey levels of 255 by which a block counts as changed
NOISE_FACTOR = 7.0  # of the noise's standard deviation; at 1,700 values and 30 frames a second that is one in centuries
NOISE_MEMORY = 0.05  # share of the newest frame in the estimate of the noise
MOST_GAIN = 1.25  # a row whose light changed by more has changed
DARK = 8.0  # levels that are added before light is compared as a factor: black has none
CHANGED_BLOCKS = 2

Blocks = NDArray[np.float32]


class ChangeMeter:
    """Numbers the changes of one camera's picture. Well under a millisecond a frame."""

    def __init__(self, last: int = 0) -> None:
        """`last` is the number of the last change that was published; the first frame is the next one."""
        self.number = last
        self._reference: Blocks | None = None  # [ROWS, COLUMNS, 3]
        self._previous: Blocks | None = None
        self._noise = 0.0  # standard deviation of a block's mean, grey levels

    def look(self, image: NDArray[np.uint8]) -> int:
        """The number of the last change, after this frame [H, W, 3] BGR."""
        blocks = _blocks(image)
        if self._previous is not None:
            self._measure_noise(blocks, self._previous)
        self._previous = blocks
        step = min(max(LEAST_STEP, NOISE_FACTOR * self._noise), MOST_STEP)
        if self._reference is None or _changed(blocks, self._reference, step) >= CHANGED_BLOCKS:
            self._reference = blocks
            self.number += 1
        return self.number

    def _measure_noise(self, blocks: Blocks, previous: Blocks) -> None:
        """From frame to frame: the median leaves out what moves, as long as that is less than half of the picture."""
        # Of two values with noise the difference has sqrt(2) times the deviation; 1.4826: from a median to that.
        median = float(np.median(np.abs(blocks - _lit_like(blocks, previous))))
        newest = 1.4826 / math.sqrt(2) * median
        self._noise += NOISE_MEMORY * (newest - self._noise) if self._noise else newest


def _blocks(image: NDArray[np.uint8]) -> Blocks:
    """[H, W, 3] -> [ROWS, COLUMNS, 3]: the mean of about 80 pixels a block; whole rows are the cheapest to copy."""
    height_px, width_px = image.shape[:2]
    sample = image[:: math.ceil(height_px / SAMPLE_ROWS), :: math.ceil(width_px / SAMPLE_COLUMNS)]
    blocks = cv2.resize(sample.astype(np.float32), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return np.asarray(blocks, np.float32)


def _changed(blocks: Blocks, reference: Blocks, step: float) -> int:
    """How many blocks differ by more than `step` in a channel, but for the light.

    What is between the old light and the new one is the same still: overexposed pixels stay as they are in any light,
    and so does what a lamp of its own lights.
    """
    lit = _lit_like(blocks, reference)
    darker, brighter = np.minimum(reference, lit) - blocks, blocks - np.maximum(reference, lit)
    return int((np.maximum(darker, brighter) > step).any(axis=2).sum())


def _lit_like(blocks: Blocks, reference: Blocks) -> Blocks:
    """The reference in the light of `blocks`: each row and channel times a small factor."""
    ratio = np.median((blocks + DARK) / (reference + DARK), axis=1, keepdims=True)  # [ROWS, 1, 3]
    gain = np.clip(ratio, 1 / MOST_GAIN, MOST_GAIN)
    return np.asarray(gain * (reference + DARK) - DARK, np.float32)
