"""Waiting longer and longer between attempts, never for ever, and never in step with others."""

from __future__ import annotations

import random


class Backoff:
    """Delays that grow by `factor` from `first_s` to `cap_s`, each spread by +/- `jitter` of itself."""

    def __init__(self, first_s: float, cap_s: float, factor: float = 2.0, jitter: float = 0.2) -> None:
        if not (0 < first_s <= cap_s and factor >= 1 and 0 <= jitter < 1):
            raise ValueError(
                f"A back-off needs 0 < first_s <= cap_s, factor >= 1 and 0 <= jitter < 1, "
                f"not first_s={first_s}, cap_s={cap_s}, factor={factor}, jitter={jitter}."
            )
        self._first_s, self._cap_s, self._factor, self._jitter = first_s, cap_s, factor, jitter
        self._base_s = first_s

    def next_s(self) -> float:
        """Return how long to wait before the next attempt, in seconds; the one after that waits longer."""
        delay_s = self._base_s * random.uniform(1 - self._jitter, 1 + self._jitter)
        self._base_s = min(self._cap_s, self._base_s * self._factor)
        return delay_s

    def reset(self) -> None:
        """Begin again with `first_s`, because an attempt succeeded."""
        self._base_s = self._first_s
