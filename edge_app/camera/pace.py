"""Which frames of a camera are used when it gives more than were asked for."""

from __future__ import annotations


class Pace:
    """Takes at most `fps` frames a second, evenly, of a stream that comes at its own rate.

    A frame may come half an interval early: with the camera at exactly `fps`, its jitter costs no frame.
    """

    def __init__(self, fps: float) -> None:
        self._interval_s = 1 / fps
        self._due_s = 0.0

    def takes(self, now_s: float) -> bool:
        """Tell whether the frame that came at `now_s` (monotonic) is to be used; the answer is noted."""
        early_s = self._interval_s / 2
        if now_s < self._due_s - early_s:
            return False
        # After a gap there is nothing to catch up.
        self._due_s = max(self._due_s, now_s - early_s) + self._interval_s
        return True
