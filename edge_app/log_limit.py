"""A log that one flapping thing cannot flood: a few lines a minute, and then how many were left out."""

from __future__ import annotations

import logging
import time
from collections import deque

LINES = 6
WINDOW_S = 60.0


class LogLimit:
    """Passes at most `LINES` lines in any `WINDOW_S` on to a logger."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._told_s: deque[float] = deque(maxlen=LINES)
        self._left_out = 0

    def tell(self, level: int, message: str, *values: object) -> None:
        """Log a line, or count it as left out; the next line that passes tells how many were."""
        now_s = time.monotonic()
        if len(self._told_s) == LINES and now_s - self._told_s[0] < WINDOW_S:
            self._left_out += 1
            return
        self._told_s.append(now_s)
        if self._left_out:
            message += f" lines_left_out={self._left_out}"
            self._left_out = 0
        self._log.log(level, message, *values)
