"""What a contender can do, and the works it is timed at: those of `edge-app bench`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge_app.model.measure import ANSWER_TOKENS
from edge_app.model.work import CAPTION_TOKENS, QUESTION, RULES, Picture

Ids = tuple[int, ...]  # new token ids, without start token or prompt

RULE_TOKENS = 1  # the first token says yes or no; the end token would be a second
FURTHER_QUESTION = RULES[1]  # ten tokens, like every other question


class Contender(Protocol):
    """A captioning and a VQA model behind one way of using them; every method decodes exactly `tokens` new tokens."""

    def caption(self, image: Picture, tokens: int) -> Ids:
        """Describe a picture never seen before."""

    def caption_like_last(self, image: Picture, tokens: int) -> Ids:
        """Describe a picture that shows what the last one did: the same tokens as `caption`, by any means."""

    def first_question(self, image: Picture, question: str, tokens: int) -> Ids:
        """Answer a question about a new picture."""

    def further_question(self, question: str, tokens: int) -> Ids:
        """Answer one more question about the picture of the last `first_question`."""

    def further_question_kept(self, question: str, tokens: int) -> Ids:
        """The same, by whoever takes the public way apart and keeps the picture's states."""

    def rules(self, image: Picture, questions: Sequence[str]) -> list[Ids]:
        """`RULE_TOKENS` of an answer to each of the questions about a new picture."""

    def rules_kept(self, image: Picture, questions: Sequence[str]) -> list[Ids]:
        """The same, with the picture's states computed once by hand."""


@dataclass(frozen=True)
class Work:
    """A line of the table.

    Attributes:
        meaning: in words.
        least_ratio: contender -> how many times quicker than it this project wants to be.
    """

    meaning: str
    least_ratio: dict[str, float] = field(default_factory=dict)


WORKS = {
    "caption_new": Work("caption, 20 tokens, new scene", {"N8": 3.0, "N16": 5.6, "P": 6.5}),
    "caption_draft": Work("caption of a scene like the last", {"N8": 4.8, "N16": 9.0, "P": 10.0}),
    "question_first": Work("first question on a new frame", {"N8": 1.1, "N16": 2.8, "P": 6.0}),
    "question_further": Work("further question, same frame", {"N8": 6.0, "N16": 15.0, "P": 40.0}),
    "rules10": Work("ten yes/no rules on one frame", {"N8": 8.0, "N16": 20.0}),
    # No targets: what is left of the two lines before when a baseline's user keeps the picture's states by hand.
    "question_further_kept": Work("further question, states kept by hand"),
    "rules10_kept": Work("ten rules, states kept by hand"),
}


def time_round(contender: Contender, picture: Picture) -> dict[str, float]:
    """Milliseconds of each of `WORKS`, done once, in an order in which each finds what it builds on.

    Raises:
        ValueError: the contender decoded another number of tokens than it was to, so its times would mean nothing.
    """
    works: dict[str, tuple[int, Callable[[], list[Ids]]]] = {
        "caption_new": (CAPTION_TOKENS, lambda: [contender.caption(picture, CAPTION_TOKENS)]),
        "caption_draft": (CAPTION_TOKENS, lambda: [contender.caption_like_last(picture, CAPTION_TOKENS)]),
        "question_first": (ANSWER_TOKENS, lambda: [contender.first_question(picture, QUESTION, ANSWER_TOKENS)]),
        "question_further": (ANSWER_TOKENS, lambda: [contender.further_question(FURTHER_QUESTION, ANSWER_TOKENS)]),
        "question_further_kept": (
            ANSWER_TOKENS,
            lambda: [contender.further_question_kept(FURTHER_QUESTION, ANSWER_TOKENS)],
        ),
        "rules10": (RULE_TOKENS, lambda: contender.rules(picture, RULES)),
        "rules10_kept": (RULE_TOKENS, lambda: contender.rules_kept(picture, RULES)),
    }
    times_ms: dict[str, float] = {}
    for name, (tokens, work) in works.items():
        started = time.perf_counter()
        texts = work()
        times_ms[name] = (time.perf_counter() - started) * 1000
        if wrong := [len(text) for text in texts if len(text) != tokens]:
            raise ValueError(f"{name} decoded {wrong[0]} tokens where {tokens} were forced; its time means nothing.")
    return times_ms
