"""The outcomes as a table for people, as Markdown for the README, and as JSON lines."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

from tests.faults.fault import Fault, Outcome

HEADINGS = ("", "fault", "times", "lost", "duplicates", "detected in", "recovered in", "verdict", "figure")
Report = tuple[Fault, Outcome]


def json_line(row: Fault, outcome: Outcome) -> str:
    """One object: the id and title of the fault, then the fields of its outcome."""
    return json.dumps({"fault": row.id, "title": row.title, **dataclasses.asdict(outcome)}, ensure_ascii=False)


def table(reports: Sequence[Report]) -> str:
    """Columns as wide as they need to be; the figures come last and are as long as they are."""
    rows = [HEADINGS, *(_cells(*report) for report in reports)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def markdown(reports: Iterable[Report]) -> str:
    """The table as the README carries it."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(*report) for report in reports)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _cells(row: Fault, outcome: Outcome) -> tuple[str, ...]:
    return (
        row.id,
        row.title,
        str(outcome.times),
        _count(outcome.lost),
        _count(outcome.duplicates),
        _seconds(outcome.detected_s),
        _seconds(outcome.recovered_s),
        "passed" if outcome.passed else "FAILED",
        outcome.figure,
    )


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _seconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s:.1f} s"
