"""How long each stage of a model takes: one round of everything a board does, of lengths that models share.

`python -m export compare` takes the rounds of several bundles in turn, so that a busy machine is busy for all of them;
`edge-app bench` times whole works instead (`edge_app.model.work`), and shares what is below.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_app.errors import BadRequestError
from edge_app.model.golden import QUESTION, golden_picture
from edge_app.model.manifest import MOST_NEW_TOKENS, Generation, ImageSpec, Task
from edge_app.model.result import Text
from edge_app.model.vlm import VisionLanguageModel

_Name = TypeVar("_Name", bound=str)

ANSWER_TOKENS = 3  # such as "two red circles" without its end


def picture_to_time(spec: ImageSpec) -> NDArray[np.uint8]:
    """A frame of twice the model's size, [2 H, 2 W, 3] BGR: what comes from a camera has to be reduced."""
    return golden_picture(spec).repeat(2, axis=0).repeat(2, axis=1)


def time_round(
    model: VisionLanguageModel, picture: NDArray[np.uint8], *, tokens: int, tasks: Sequence[Task]
) -> dict[str, float]:
    """Milliseconds of every stage, each measured once.

    Captions are forced to `tokens` new tokens (at least 2) and answers to ANSWER_TOKENS, whatever the model would say,
    so that models and rounds compare. `question_*` and `caption_*` are the stages from the picture on;
    `question_further` is one more question about the same picture, `further_*` its stages; `ms_per_token` is one more
    token of a caption.

    Raises:
        BadRequestError: more tokens than a text may have, or than the model has room for.
        DeviceError: the device failed.
    """
    times_ms: dict[str, float] = {}
    if "vqa" in tasks:
        encoding = model.encode(picture)
        times_ms |= _stages("question", model.answer(encoding, QUESTION, options=forced_to(ANSWER_TOKENS)))
        further = model.answer(encoding, QUESTION, options=forced_to(ANSWER_TOKENS)).timing_ms
        times_ms |= {f"further_{stage}": further[stage] for stage in ("question", "decode")}
        times_ms["question_further"] = further["question"] + further["decode"]
    if "caption" in tasks:
        encoding = model.encode(picture)
        times_ms |= _stages("caption", model.caption(encoding, options=forced_to(tokens)))
        # The picture's keys and values are there by now; what a text costs once cancels out.
        long_ms, short_ms = (
            model.caption(encoding, options=forced_to(count)).timing_ms["decode"] for count in (tokens, 1)
        )
        times_ms["ms_per_token"] = (long_ms - short_ms) / (tokens - 1)
    return times_ms


def medians(rounds: Sequence[Mapping[_Name, float]]) -> dict[_Name, float]:
    """The median of each time over the rounds."""
    return {name: round(statistics.median(times_ms[name] for times_ms in rounds), 3) for name in rounds[0]}


def rss_bytes() -> int:
    """Memory of this process that is resident now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_name() -> str:
    """The processor as the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return sys.platform


def forced_to(tokens: int) -> Generation:
    """Options that make a text of exactly so many new tokens; BadRequestError when no text may have as many."""
    try:
        return Generation(max_new_tokens=tokens, min_new_tokens=tokens)
    except ValidationError as error:
        raise BadRequestError(f"A text of {tokens} tokens cannot be asked for; give 1 to {MOST_NEW_TOKENS}.") from error


def _stages(name: str, text: Text) -> dict[str, float]:
    return {f"{name}_{stage}": spent_ms for stage, spent_ms in text.timing_ms.items()}
