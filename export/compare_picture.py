"""A comparison of bundles as a picture: size, time by stage, agreement, one row a bundle. Imported only to draw."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # a file, no window: before pyplot or a figure asks for a display

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edge_app.model.measure import ANSWER_TOKENS
from export.compare_report import TEXTS, Agreement, Comparison, Figures, machine
from export.errors import ExportError

DOTS_PER_INCH = 100
WIDTH_IN = 12.0  # 1200 px
TOP_IN, ROW_IN, BOTTOM_IN = 0.8, 1.25, 1.25  # titles; one bundle; axes' names and legends
LEFT, RIGHT = 0.15, 0.985  # where the axes begin and end, of the width; labels are left of them
LABEL_CHARS = 22
LEGEND_IN = 0.55  # from the axis to the legend under it
LONGEST = 0.6  # of the width of the times, which the longest bar takes; the rest is for the words beside it
BAR = 0.24  # of a row; a row has at most three bars of time, four of agreement in the same room

# Okabe and Ito's colours, which those who confuse red and green can tell apart.
STAGE_COLOURS = {"image": "#999999", "vision": "#0072B2", "question": "#E69F00", "decode": "#009E73"}
AGREEMENT_COLOURS = ("#0072B2", "#56B4E9", "#D55E00", "#F0C27B")
SIZE_COLOUR = "#56B4E9"

PARTS = ("identical", "tokens")
Stages = dict[str, float]  # stage -> ms


def draw(comparison: Comparison, path: Path) -> None:
    """Write the picture as PNG, 1200 px wide; ExportError when the file cannot be written."""
    rows = len(comparison.bundles)
    height_in = TOP_IN + ROW_IN * rows + BOTTOM_IN
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DOTS_PER_INCH)
    # Not matplotlib's own layout, which would take the room of long words from the bars.
    figure.subplots_adjust(LEFT, BOTTOM_IN / height_in, RIGHT, 1 - TOP_IN / height_in, wspace=0.1)
    size, time, agreed = figure.subplots(1, 3, sharey=True, width_ratios=(1.0, 2.3, 1.7))
    figure.suptitle(
        f"{machine(comparison)}; medians of {comparison.runs} runs, texts of {comparison.pictures} pictures",
        fontsize=11,
        y=1 - 0.25 / height_in,
    )
    size.set_yticks(range(rows), [_label(one) for one in comparison.bundles])
    size.set_ylim(rows - 0.5, -0.5)  # the first bundle on top
    _draw_sizes(size, comparison.bundles)
    _draw_times(time, comparison)
    _draw_agreement(agreed, comparison)
    for axes in (size, time, agreed):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise ExportError(f"The picture {path} cannot be written ({error.strerror}); name another file.") from error


def stages_of(figures: Figures, work: str) -> Stages:
    """The stages of a "caption", of a "question" from the picture on, or of a "further" question about it."""
    named = {stage: f"{work}_{stage}" for stage in STAGE_COLOURS}
    return {stage: figures.stages_ms[name] for stage, name in named.items() if name in figures.stages_ms}


def shares_of(agreement: Agreement) -> dict[str, float | None]:
    """Both shares of an agreement, 0..1; None where tokens cannot be compared."""
    return {"identical": agreement.identical / agreement.texts, "tokens": agreement.token_agreement}


def _draw_sizes(axes: Axes, bundles: Sequence[Figures]) -> None:
    bars = axes.barh(range(len(bundles)), [one.size_bytes / 1e6 for one in bundles], height=0.5, color=SIZE_COLOUR)
    axes.bar_label(bars, [_short(one.size_bytes / 1e6) for one in bundles], padding=3)
    axes.set_xlim(0, max(one.size_bytes for one in bundles) / 1e6 * 1.4)
    axes.set_title("Size on disk")
    axes.set_xlabel("MB")


def _draw_times(axes: Axes, comparison: Comparison) -> None:
    """Stacked bars: what a caption, a first answer and a further question spend on each stage."""
    works: list[tuple[str, str, str]] = []  # stages, their total, words
    lengths: list[str] = []
    if "caption" in comparison.tasks:
        works.append(("caption", "caption_total", "caption"))
        lengths.append(f"captions of {comparison.tokens} tokens")
    if "vqa" in comparison.tasks:
        works.append(("question", "question_total", "first answer"))
        lengths.append(f"answers of {ANSWER_TOKENS}")
        works.append(("further", "question_further", "further question"))
    for row, figures in enumerate(comparison.bundles):
        for place, (work, total, words) in zip(_places(row, len(works)), works, strict=True):
            end_ms = 0.0
            for stage, spent_ms in stages_of(figures, work).items():
                axes.barh(place, spent_ms, left=end_ms, height=BAR, color=STAGE_COLOURS[stage])
                end_ms += spent_ms
            _write(axes, end_ms, place, f"{_short(figures.stages_ms[total])} ms  {words}")
    longest_ms = max(figures.stages_ms[total] for figures in comparison.bundles for _, total, _ in works)
    axes.set_xlim(0, longest_ms / LONGEST)
    axes.locator_params(axis="x", nbins=6)
    axes.set_title("Time by stage")
    axes.set_xlabel(f"ms ({', '.join(lengths)})")
    handles = [axes.barh(0, 0, color=colour, label=stage) for stage, colour in STAGE_COLOURS.items()]
    axes.legend(handles=handles, **_below(comparison), ncols=4)


def _draw_agreement(axes: Axes, comparison: Comparison) -> None:
    """Bars of the share of identical texts, and of tokens, for each task; none for the reference itself."""
    measures = [(task, what, part) for task, what in TEXTS if task in comparison.tasks for part in PARTS]
    for number, (task, what, part) in enumerate(measures):
        colour = AGREEMENT_COLOURS[number]
        axes.barh(0, 0, color=colour, label=f"identical {what}" if part == "identical" else f"tokens of {what}")
        for row, figures in enumerate(comparison.bundles):
            if task not in figures.agreement:
                continue
            share = shares_of(figures.agreement[task])[part]
            place = _places(row, len(measures))[number]
            if share is not None:
                axes.barh(place, 100 * share, height=0.75 * BAR, color=colour)
            _write(axes, 100 * (share or 0), place, "other words" if share is None else _short(100 * share))
    _write(axes, 0, 0, "the reference")
    axes.set_xlim(0, 120)
    axes.set_xticks(range(0, 101, 25))
    axes.set_title("Agreement with the first")
    axes.set_xlabel("%")
    axes.legend(**_below(comparison), ncols=2)


def _label(figures: Figures) -> str:
    """Name, precision and device, in lines that fit beside the bars."""
    about = textwrap.wrap(f"{figures.precision}, {figures.device}", LABEL_CHARS)
    return "\n".join([*textwrap.wrap(figures.label, LABEL_CHARS), *about])


def _write(axes: Axes, end: float, place: float, words: str) -> None:
    """Words to the right of a bar."""
    axes.annotate(words, (end, place), (4, 0), textcoords="offset points", va="center")


def _short(value: float) -> str:
    """At most three digits that matter: 1234, 123, 12.3, 1.23."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _below(comparison: Comparison) -> dict[str, Any]:
    """Where a legend goes: under the axis' name, at a distance that does not grow with the rows."""
    height_in = ROW_IN * len(comparison.bundles)
    return {
        "loc": "upper center",
        "bbox_to_anchor": (0.5, -LEGEND_IN / height_in),
        "frameon": False,
        "columnspacing": 1.2,
    }


def _places(row: int, bars: int) -> list[float]:
    """Where the bars of a row have their middles, from top to bottom."""
    step = 3 * (BAR + 0.02) / max(bars, 3)
    return [row + (number - (bars - 1) / 2) * step for number in range(bars)]
