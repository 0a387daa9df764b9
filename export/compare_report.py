"""What comparing bundles gives: the figures of each, as a table for a person and as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

from edge_app.model.manifest import Task
from edge_app.model.measure import ANSWER_TOKENS
from export.compare_process import Said

REFERENCE = "reference"  # stands where the first bundle would be compared with itself
TEXTS: tuple[tuple[Task, str], ...] = (("caption", "captions"), ("vqa", "answers"))


@dataclass(frozen=True)
class Agreement:
    """How the texts of one task compare with the first bundle's.

    Attributes:
        texts: compared.
        identical: of them, those with the very same text.
        token_agreement: share of new tokens, position by position, that are the same; a text that is longer has tokens
            which agree with nothing. None where the two bundles number words differently.
    """

    texts: int
    identical: int
    token_agreement: float | None


@dataclass(frozen=True)
class Figures:
    """One bundle. Times are medians in ms, named as `edge_app.model.measure.time_round` names them.

    Precision is that of every graph, in words: `int8, decoder int4`.
    """

    label: str
    path: Path
    precision: str
    device: str
    threads: int | None  # of the CPU, as OpenVINO chose them; None where the device does not say
    fallbacks: tuple[str, ...]
    size_bytes: int
    load_s: float
    stages_ms: dict[str, float]
    rss_bytes: int
    agreement: dict[Task, Agreement]


@dataclass(frozen=True)
class Comparison:
    """All bundles, the first of them the reference, and how they were measured."""

    bundles: tuple[Figures, ...]
    tasks: tuple[Task, ...]
    left_out: tuple[str, ...]  # a sentence for each bundle that serves more than what was compared
    cpu: str
    threads: int | None  # of every bundle; None where they differ, or a device does not say
    runs: int
    tokens: int
    pictures: int


Cell = Callable[[Figures], str]  # what a row of the table shows of a bundle


def agreement(first: Sequence[Said], other: Sequence[Said], *, same_vocabulary: bool) -> Agreement:
    """Compare texts pair by pair."""
    pairs = list(zip(first, other, strict=True))
    identical = sum(one.text == two.text for one, two in pairs)
    if not same_vocabulary:
        return Agreement(len(pairs), identical, None)
    positions = [same for one, two in pairs for same in _same_tokens(one.token_ids, two.token_ids)]
    return Agreement(len(pairs), identical, sum(positions) / len(positions) if positions else 1.0)


def as_json(comparison: Comparison) -> str:
    """The comparison as one JSON object; the stages have the names that `edge-app bench` gives them."""
    return json.dumps(asdict(comparison), default=str, allow_nan=False)  # default: paths


def machine(comparison: Comparison) -> str:
    """The processor, and the threads where every bundle has as many."""
    return comparison.cpu if comparison.threads is None else f"{comparison.cpu}, {comparison.threads} threads"


def table(comparison: Comparison) -> str:
    """One row a measure, one column a bundle, and above it how it was measured."""
    rows = [["", *(figures.label for figures in comparison.bundles)]]
    rows += [[name, *(cell(figures) for figures in comparison.bundles)] for name, cell in _rows(comparison)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{machine(comparison)}; medians of {comparison.runs} runs, each bundle in its turn",
        *comparison.left_out,
        *(f"{figures.label}: {sentence}" for figures in comparison.bundles for sentence in figures.fallbacks),
        "",
    ]
    for first, *cells in rows:
        padded = [first.ljust(widths[0]), *(text.rjust(width) for text, width in zip(cells, widths[1:], strict=True))]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _same_tokens(one: Sequence[int], two: Sequence[int]) -> list[bool]:
    return [a == b for a, b in zip_longest(one, two)]


def _rows(comparison: Comparison) -> list[tuple[str, Cell]]:
    """The measures in the order of a frame's way, each with what it shows of a bundle."""
    either = "caption" if "caption" in comparison.tasks else "question"  # both begin with the same picture
    rows: list[tuple[str, Cell]] = [
        ("precision", lambda figures: figures.precision),
        ("device", lambda figures: figures.device),
        *([("threads", _threads)] if comparison.threads is None else []),
        ("size, MB", lambda figures: f"{figures.size_bytes / 1e6:.1f}"),
        ("load, s", lambda figures: f"{figures.load_s:.2f}"),
        ("image, ms", _time(f"{either}_image")),
        ("vision, ms", _time(f"{either}_vision")),
    ]
    if "vqa" in comparison.tasks:
        rows.append(("question, ms", _time("question_question")))
    if "caption" in comparison.tasks:
        rows.append(("decode, ms a token", _time("ms_per_token")))
        rows.append((f"caption of {comparison.tokens} tokens, ms", _time("caption_total")))
    if "vqa" in comparison.tasks:
        rows.append((f"first answer of {ANSWER_TOKENS} tokens, ms", _time("question_total")))
        rows.append(("further question, ms", _time("question_further")))
    rows.append(("memory, MB", lambda figures: f"{figures.rss_bytes / 1e6:.0f}"))
    for task, what in TEXTS:
        if task in comparison.tasks:
            rows += [(f"identical {what}", _identical(task)), (f"tokens of {what} that agree", _tokens(task))]
    return rows


def _threads(figures: Figures) -> str:
    return "-" if figures.threads is None else str(figures.threads)


def _time(name: str) -> Cell:
    return lambda figures: f"{figures.stages_ms[name]:.2f}"


def _identical(task: Task) -> Cell:
    def cell(figures: Figures) -> str:
        agreed = figures.agreement.get(task)
        return REFERENCE if agreed is None else f"{agreed.identical} of {agreed.texts}"

    return cell


def _tokens(task: Task) -> Cell:
    def cell(figures: Figures) -> str:
        agreed = figures.agreement.get(task)
        if agreed is None:
            return REFERENCE
        return "other words" if agreed.token_agreement is None else f"{agreed.token_agreement:.1%}"

    return cell
