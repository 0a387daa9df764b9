"""The figures of a comparison, as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.contender import WORKS
from tests.bench.material import Label, Size

OURS: Label = "ours"


@dataclass(frozen=True)
class Comparison:
    """What was measured, and on what.

    Attributes:
        rounds: contender -> its rounds, each work -> ms; the warm-up is not among them.
        size: of the models.
        threads: of each contender.
        cpu: name of the processor.
        versions: of the libraries.
        load_average: of one minute, before the contenders are loaded and after the last round. The measurement itself
            makes `threads` of the latter; one that is not small before means that somebody else was at work.
    """

    rounds: Mapping[Label, Sequence[Mapping[str, float]]]
    size: Size
    threads: int
    cpu: str
    versions: Mapping[str, str]
    load_average: tuple[float, float]

    @property
    def runs(self) -> int:
        """Rounds a contender."""
        return len(next(iter(self.rounds.values())))

    def median_ms(self, label: Label, work: str) -> float:
        """Over all rounds."""
        return statistics.median(times_ms[work] for times_ms in self.rounds[label])

    def ratios(self, work: str) -> dict[Label, float]:
        """Contender -> how many times quicker than it ours is; empty when ours was left out."""
        if OURS not in self.rounds:
            return {}
        ours_ms = self.median_ms(OURS, work)
        return {label: self.median_ms(label, work) / ours_ms for label in self.rounds if label != OURS}


def as_json(comparison: Comparison) -> str:
    """One object on one line."""
    works = {
        work: {
            "meaning": WORKS[work].meaning,
            "ms": {label: round(comparison.median_ms(label, work), 3) for label in comparison.rounds},
            "ratio": {label: round(ratio, 3) for label, ratio in comparison.ratios(work).items()},
            "least_ratio": WORKS[work].least_ratio,
            "rounds_ms": {
                label: [round(times_ms[work], 3) for times_ms in rounds] for label, rounds in comparison.rounds.items()
            },
        }
        for work in WORKS
    }
    before, after = comparison.load_average
    return json.dumps(
        {
            "size": comparison.size,
            "cpu": comparison.cpu,
            "threads": comparison.threads,
            "runs": comparison.runs,
            "load_average": {"before": before, "after": after},
            "versions": dict(comparison.versions),
            "works": works,
        }
    )


def table(comparison: Comparison) -> str:
    """Works by contenders: median ms, then ours against each with what is wanted in brackets."""
    labels = list(comparison.rounds)
    others = [label for label in labels if label != OURS] if OURS in labels else []
    before, after = comparison.load_average
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    lines = [
        f"BLIP {comparison.size} on {comparison.cpu}, {comparison.threads} threads each, "
        f"medians of {comparison.runs} rounds after one of warm-up",
        f"{versions}; load average {before:.2f} before, {after:.2f} after",
        f"{'median ms':<40}"
        + "".join(f"{label:>10}" for label in labels)
        + "".join(f"{f'against {label}':>20}" for label in others),
    ]
    for work, about in WORKS.items():
        ratios = comparison.ratios(work)
        cells = "".join(f"{comparison.median_ms(label, work):10.1f}" for label in labels)
        cells += "".join(f"{_ratio(ratios[label], about.least_ratio.get(label)):>20}" for label in others)
        lines.append(f"{about.meaning:<40}{cells}")
    return "\n".join(lines)


def _ratio(ratio: float, least: float | None) -> str:
    """`3.1x (>= 3.0)`, with what falls short marked."""
    if least is None:
        return f"{ratio:.1f}x"
    return f"{'' if ratio >= least else '! '}{ratio:.1f}x (>= {least:g})"
