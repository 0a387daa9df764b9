"""What a board does with a frame, timed as a whole: the five works that ways of running a model are compared by.

Lengths are forced, so that models, bundles and ways compare: CAPTION_TOKENS new tokens a caption, ANSWER_TOKENS an
answer, one for a rule, whose state is P(yes) at the first token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_app.model.manifest import Role, Task
from edge_app.model.measure import ANSWER_TOKENS, forced_to
from edge_app.model.vlm import VisionLanguageModel

CAPTION_TOKENS = 20
# Ten tokens each in BERT's vocabulary, [CLS] and [SEP] included.
QUESTION = "what is there in the picture now?"
RULES = tuple(
    f"is there a {thing} in the picture?"
    for thing in ("dog", "cat", "man", "woman", "car", "truck", "bag", "chair", "fire", "ladder")
)

Picture = NDArray[np.uint8]  # [H, W, 3] BGR


def time_work(
    model: VisionLanguageModel, picture: Picture, *, tasks: Sequence[Task], tokens: int = CAPTION_TOKENS
) -> dict[str, float]:
    """Milliseconds of each work, once, from the frame at hand to the text.

    - `caption_new_ms`: the caption of a frame.
    - `caption_draft_ms`: the caption of a frame whose caption is that of the frame before, which is its draft.
    - `question_first_ms`: an answer about a frame that was not yet looked at.
    - `question_further_ms`: one more answer about that frame.
    - `rules10_ms`: ten yes/no questions about a frame.

    Works of a task that is not among `tasks` are left out.

    Raises:
        BadRequestError: more tokens than the model has room for.
        DeviceError: the device failed.
    """
    times_ms: dict[str, float] = {}
    if "caption" in tasks:
        forced = forced_to(tokens)
        text = model.caption(model.encode(picture), options=forced)
        times_ms["caption_new_ms"] = timed(lambda: model.caption(model.encode(picture), options=forced))
        times_ms["caption_draft_ms"] = timed(
            lambda: model.caption(model.encode(picture), options=forced, draft=text.token_ids)
        )
    if "vqa" in tasks:
        answered = forced_to(ANSWER_TOKENS)
        times_ms["question_first_ms"] = timed(lambda: model.answer(model.encode(picture), QUESTION, options=answered))
        encoding = model.encode(picture)
        model.answer(encoding, RULES[0], options=answered)
        times_ms["question_further_ms"] = timed(lambda: model.answer(encoding, QUESTION, options=answered))
        times_ms["rules10_ms"] = timed(lambda: model.answers(model.encode(picture), RULES, options=forced_to(1)))
    return times_ms


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that `work` takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def time_stages(model: VisionLanguageModel, picture: Picture, *, tasks: Sequence[Task]) -> dict[Role, float]:
    """Milliseconds of one run of each graph alone: for one frame, one question, one more token of a caption.

    Afterwards every graph has the inputs of that run bound (`Graph.bound_shapes`).
    """
    encoding = model.encode(picture)
    if "vqa" in tasks:
        model.answer(encoding, QUESTION, options=forced_to(ANSWER_TOKENS))
    if "caption" in tasks:
        model.caption(encoding, options=forced_to(ANSWER_TOKENS))
    return {role: graph.last_ms for role, graph in model.graphs.items()}
