"""How the time of a training is shared; it follows the clock, so a slower machine trains less but ends as cool."""

from __future__ import annotations

from dataclasses import dataclass

PATCH_PHASE_SHARE = 0.2  # of the time
COOL_DOWN_SHARE = 0.4  # of the time, at the end, in which the rate falls to nothing


@dataclass(frozen=True)
class Schedule:
    """How long, and how the time is shared; `spent` is the share of it that is over, 0..1."""

    minutes: float
    patch_phase: float = PATCH_PHASE_SHARE  # share of the time, at the start, without texts
    cool_down: float = COOL_DOWN_SHARE  # 0 leaves the training warm, to go on another day

    def has_texts(self, spent: float) -> bool:
        """Whether captions and answers are learnt yet."""
        return spent >= self.patch_phase

    def rate(self, spent: float) -> float:
        """Share of the full learning rate, 0..1."""
        return min(1.0, (1 - spent) / self.cool_down) if self.cool_down else 1.0
