"""What a process family holds over time, and whether that grows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from tests.faults.node import Node

WARM_UP = 0.25  # of the samples: caches fill, and every part has worked once
MAX_RISE = {"service_mib": 0.1, "children_mib": 0.03, "descriptors": 0.0, "threads": 0.0}
"""The rise over the whole stretch that still counts as flat, as a share of the median; 0: less than one half."""


@dataclass
class Record:
    """Samples of a node, one a second or so, and what was done to it meanwhile."""

    samples: list[dict[str, float]] = field(default_factory=list)
    """`Node.resources` with `at_s`, the seconds since the beginning."""
    spells: list[tuple[str, float, float]] = field(default_factory=list)
    """`(kind of fault, from, to)` in seconds since the beginning."""
    captions: list[tuple[float, int]] = field(default_factory=list)
    """`(seconds since the beginning, captions received by then)`."""

    def take(self, node: Node, at_s: float, captions: int) -> None:
        """Add a sample."""
        self.samples.append({"at_s": round(at_s, 2), **node.resources()})
        self.captions.append((round(at_s, 2), captions))

    def rises(self) -> dict[str, float]:
        """By how much each figure rises from the end of the warm-up to the last sample, by the line through them."""
        warm = self.samples[int(len(self.samples) * WARM_UP) :]
        stretch_s = warm[-1]["at_s"] - warm[0]["at_s"]
        times_s = [sample["at_s"] for sample in warm]
        return {key: slope(times_s, [sample[key] for sample in warm]) * stretch_s for key in MAX_RISE}

    def growing(self) -> list[str]:
        """What is not flat, as `descriptors +12.0`."""
        told = []
        for key, rise in self.rises().items():
            usual = statistics.median(sample[key] for sample in self.samples)
            if rise > max(0.5, MAX_RISE[key] * usual):
                told.append(f"{key} {rise:+.1f}")
        return told

    def values(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The median of the slopes between any two points (Theil 1950, Sen 1968): a few wild samples do not move it."""
    points = list(zip(xs, ys, strict=True))
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)
