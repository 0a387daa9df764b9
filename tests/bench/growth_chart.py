"""The figures of `tests.bench.growth` as a picture. Imported only to draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # a file, no window: before a figure asks for a display

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.compare_picture import STAGE_COLOURS

DOTS_PER_INCH = 100
SIZE_IN = (12.0, 4.2)  # 1200 px wide
FIRST_COLOUR, LAST_COLOUR = "#56B4E9", "#0072B2"  # Okabe and Ito


def draw(report: dict[str, Any], path: Path) -> None:
    """Write three plots beside each other as PNG: questions by stage, bursts, cameras."""
    figure = Figure(figsize=SIZE_IN, dpi=DOTS_PER_INCH, layout="constrained")
    questions, bursts, cameras = figure.subplots(1, 3)
    figure.suptitle(f"{report['bundle']} on {report['cpu']}, {report['threads']} threads", fontsize=11)
    _draw_questions(questions, report["questions"])
    _draw_bursts(bursts, report["bursts"])
    _draw_cameras(cameras, report["cameras"])
    for axes in (questions, bursts, cameras):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.set_ylim(bottom=0)
    figure.savefig(path, format="png")


def _draw_questions(axes: Axes, rows: list[dict[str, float]]) -> None:
    places = range(len(rows))
    ends_ms = [0.0] * len(rows)
    for stage, colour in STAGE_COLOURS.items():
        axes.bar(places, [row[stage] for row in rows], bottom=ends_ms, color=colour, label=stage)
        ends_ms = [end_ms + row[stage] for end_ms, row in zip(ends_ms, rows, strict=True)]
    axes.set_xticks(places, [f"{row['questions']}" for row in rows])
    _label(axes, "Yes/no questions about one new frame", "questions in one batch", "ms")
    axes.legend(frameon=False)


def _draw_bursts(axes: Axes, rows: list[dict[str, float]]) -> None:
    places = range(len(rows))
    axes.plot(places, [row["last_ms"] for row in rows], "o-", color=LAST_COLOUR, label="last answer")
    axes.plot(places, [row["first_ms"] for row in rows], "o-", color=FIRST_COLOUR, label="first answer")
    for place, row in zip(places, rows, strict=True):
        axes.annotate(f"{row['frames']:.0f}", (place, row["last_ms"]), (0, 6), textcoords="offset points", ha="center")
    axes.set_xticks(places, [f"{row['questions']:.0f}" for row in rows])
    _label(axes, "Questions at once to the service", "questions (above: frames looked at)", "ms")
    axes.legend(frameon=False)


def _draw_cameras(axes: Axes, rows: list[dict[str, float]]) -> None:
    places = range(len(rows))
    together = axes.bar([place - 0.2 for place in places], [row["per_s"] for row in rows], 0.38, color=LAST_COLOUR)
    least = axes.bar([place + 0.2 for place in places], [row["least_per_s"] for row in rows], 0.38, color=FIRST_COLOUR)
    for bars in (together, least):
        axes.bar_label(bars, fmt="%.2g", padding=2)
    axes.set_xticks(places, [f"{row['cameras']}" for row in rows])
    _label(axes, "Cameras captioned at full rate", "cameras", "captions a second")
    axes.legend([together, least], ["together", "the camera with fewest"], frameon=False)


def _label(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
