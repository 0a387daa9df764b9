"""Draw a record of the row L1: `python -m tests.faults.endurance_chart RECORD.json docs/endurance.png`.

The record comes from `python -m tests.faults --long --only L1 --keep DIR`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # a file, no window: before a figure asks for a display

from matplotlib.axes import Axes
from matplotlib.figure import Figure

DOTS_PER_INCH = 100
SIZE_IN = (12.0, 3.6)  # 1200 px wide
LINE_COLOUR = "#0072B2"  # Okabe and Ito, as the next two
SPELL_COLOURS = {"broker away": "#D55E00", "camera stalls": "#E69F00"}
PANELS = {
    "service_mib": "Service, MiB",
    "children_mib": "Model and camera, MiB",
    "descriptors": "Open descriptors",
    "threads": "Threads",
}


def main(argv: list[str]) -> None:
    """Read a record, write a PNG."""
    record = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    figure = Figure(figsize=SIZE_IN, dpi=DOTS_PER_INCH, layout="constrained")
    panels = figure.subplots(1, 1 + len(PANELS))
    figure.suptitle(record["title"], fontsize=11)
    _draw(panels[0], "Captions received", record["captions"], record)
    for axes, (key, title) in zip(panels[1:], PANELS.items(), strict=True):
        _draw(axes, title, [(sample["at_s"], sample[key]) for sample in record["samples"]], record)
    panels[0].legend(frameon=False, loc="upper left")
    figure.savefig(argv[1], format="png")


def _draw(axes: Axes, title: str, points: list[tuple[float, float]], record: dict[str, Any]) -> None:
    """One figure over time, with the spells of the faults behind it."""
    told: set[str] = set()
    for kind, began_s, ended_s in record["spells"]:
        axes.axvspan(began_s, ended_s, color=SPELL_COLOURS[kind], alpha=0.3, lw=0, label=None if kind in told else kind)
        told.add(kind)
    axes.plot(*zip(*points, strict=True), color=LINE_COLOUR, lw=1.2)
    axes.set_title(title)
    axes.set_xlabel("seconds")
    axes.set_ylim(0, 1.15 * max(value for _, value in points))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


if __name__ == "__main__":
    main(sys.argv[1:])
