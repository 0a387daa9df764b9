"""This project's runtime, as the board runs it.

INT8 bundles; a picture is encoded once; the questions about it are one batch; a decode loop in NumPy over graphs that
take the keys and values of picture and past as inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_app.model.encoder import Encoding
from edge_app.model.loading import load_models
from edge_app.model.measure import forced_to
from edge_app.model.result import Text
from edge_app.model.work import Picture
from tests.bench.contender import RULE_TOKENS, Ids


class Ours:
    """A `Contender`: a bundle that captions and one that answers."""

    def __init__(self, caption: Path, vqa: Path, *, threads: int = 0) -> None:
        """Compile the bundles for the CPU; 0 threads leaves their number to OpenVINO."""
        self._caption, self._vqa = load_models([caption, vqa], device="CPU", threads=threads).models
        self._encoding: Encoding | None = None
        self._last: Sequence[int] = ()  # the last caption, as a draft of the next

    def caption(self, image: Picture, tokens: int) -> Ids:
        """Without a draft, and without the bundle's prompt, which the public ways do not have either."""
        return self._described(image, tokens, draft=())

    def caption_like_last(self, image: Picture, tokens: int) -> Ids:
        """The last caption is the draft, which one pass of the decoder checks."""
        return self._described(image, tokens, draft=self._last)

    def _described(self, image: Picture, tokens: int, *, draft: Sequence[int]) -> Ids:
        encoding = self._caption.encode(image)
        text = self._caption.caption(encoding, prompt="", options=forced_to(tokens), draft=draft)
        self._last = text.token_ids
        return new_ids(text)

    def first_question(self, image: Picture, question: str, tokens: int) -> Ids:
        self._encoding = self._vqa.encode(image)
        return self.further_question(question, tokens)

    def further_question(self, question: str, tokens: int) -> Ids:
        if self._encoding is None:
            raise ValueError("There is no picture to ask about; call first_question before further_question.")
        return new_ids(self._vqa.answer(self._encoding, question, options=forced_to(tokens)))

    def further_question_kept(self, question: str, tokens: int) -> Ids:
        """The picture's states are always kept."""
        return self.further_question(question, tokens)

    def rules(self, image: Picture, questions: Sequence[str]) -> list[Ids]:
        """As one batch."""
        texts = self._vqa.answers(self._vqa.encode(image), questions, options=forced_to(RULE_TOKENS))
        return [new_ids(text) for text in texts]

    def rules_kept(self, image: Picture, questions: Sequence[str]) -> list[Ids]:
        """The picture's states are always kept."""
        return self.rules(image, questions)


def new_ids(text: Text) -> Ids:
    """The tokens after start token and prompt."""
    return text.token_ids[len(text.token_ids) - text.tokens :]
