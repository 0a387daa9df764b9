"""Whether a live picture shows anything: a camera can deliver frames for ever and still be blind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from edge_app.camera import Picture

Content = Literal["ok", "frozen", "black"]

AFTER_S = 45.0  # a picture that is frozen or black for so long is told: within a minute, with time to spare
BLACK_BELOW = 24  # of 255; the noise of a covered sensor stays below, a lamp in the night does not
SAMPLE_STEP_PX = 16  # every 16th row is looked at: 0.17 MB of a 720p frame


class ContentJudge:
    """Watches the frames of one live camera.

    Frozen: not one sampled value differs from frame to frame, which the noise of a working sensor never allows.
    """

    def __init__(self, after_s: float = AFTER_S) -> None:
        self._after_s = after_s
        self._sample: Picture | None = None
        self._since_s: dict[Content, float] = {}

    def begin_anew(self) -> None:
        """The camera was opened again: its next picture may differ from the last one and still be all that it shows."""
        self._sample = None

    def judge(self, image: Picture, now_s: float) -> Content:
        """What `image` [H, W, 3], come at `now_s` (monotonic), and those before it amount to."""
        sample = image[::SAMPLE_STEP_PX].copy()
        black = bool(sample.max() < BLACK_BELOW)
        # With nothing to compare, a camera that was frozen still is.
        frozen = "frozen" in self._since_s if self._sample is None else np.array_equal(sample, self._sample)
        self._sample = sample
        black, frozen = self._lasts("black", black, now_s), self._lasts("frozen", frozen, now_s)
        if black:  # a covered lens can be both; what a person would see is said first
            return "black"
        return "frozen" if frozen else "ok"

    def _lasts(self, what: Content, true_now: bool, now_s: float) -> bool:
        if not true_now:
            self._since_s.pop(what, None)
            return False
        return now_s - self._since_s.setdefault(what, now_s) >= self._after_s
