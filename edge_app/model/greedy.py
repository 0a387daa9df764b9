"""Greedy decoding, by hand: token for token what transformers 5 does in `GenerationMixin._sample` without sampling.

A draft, such as the caption of the frame before, is checked in one pass of the decoder: the tokens that greedy decoding
would have taken stand, and decoding goes on after them. Speculative decoding (Leviathan et al. 2023) whose draft costs
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_app.model.decoded import Decoded
from edge_app.model.decoder import Decoder
from edge_app.model.manifest import Generation
from edge_app.model.scores import Logits, penalise, probability


def greedy(
    decoder: Decoder,
    prompt: NDArray[np.int64],
    options: Generation,
    *,
    end: int,
    pad: int,
    draft: Sequence[int] = (),
) -> list[Decoded]:
    """Take the most probable token, step by step, for a batch of sequences.

    Args:
        decoder: begun with a cache of batch B.
        prompt: [B, T].
        options: limits and penalties.
        end: token id that ends a sequence.
        pad: token id that a finished row is fed while others go on.
        draft: what may come after the prompt, with or without the end token; for B = 1. It changes how many passes
            the text takes, not the text.
    """
    texts = _Texts(prompt, options, end=end, pad=pad)
    tokens = _check(decoder, texts, prompt, draft) if draft else prompt
    while tokens is not None:
        tokens = texts.take(decoder.forward(tokens)[:, -1])  # [B, T, V] -> [B, V]
    return texts.decoded()


def _check(
    decoder: Decoder, texts: _Texts, prompt: NDArray[np.int64], draft: Sequence[int]
) -> NDArray[np.int64] | None:
    """Decode with the draft in one pass, as far as it holds; the next tokens to feed, or None when the text is over."""
    if len(prompt) != 1:
        raise ValueError(f"a draft is for one sequence, not for a batch of {len(prompt)}")
    # The last token that may be decoded need not be fed: nothing comes after it.
    drafted = np.array([draft[: texts.limit - 1]], np.int64)
    logits = decoder.forward(np.concatenate([prompt, drafted], axis=1))  # [1, T + D, V]
    known = prompt.shape[1]
    for position in range(known - 1, logits.shape[1]):
        tokens = texts.take(logits[:, position])
        if tokens is None or position + 1 == logits.shape[1]:
            return tokens
        if tokens[0, 0] != drafted[0, position + 1 - known]:
            decoder.cache.truncate(position + 1)
            return tokens
    raise AssertionError("a prompt has at least one token")


class _Texts:
    """Sequences as they grow."""

    def __init__(self, prompt: NDArray[np.int64], options: Generation, *, end: int, pad: int) -> None:
        self.limit = options.max_new_tokens
        self._options, self._end, self._pad = options, end, pad
        self._sequences: list[list[int]] = [list(map(int, row)) for row in prompt]
        self._probabilities: list[list[float]] = [[] for _ in prompt]
        self._open = list(range(len(prompt)))
        self._first_logits: Logits | None = None
        self._step = 0

    def take(self, logits: Logits) -> NDArray[np.int64] | None:
        """Continue each open row with its best token by `logits` [B, V]; [B, 1] to feed next, or None at the end."""
        if self._first_logits is None:
            self._first_logits = logits.copy()
        scores = penalise(logits, self._sequences, self._options, self._step, self._end)
        choice = scores.argmax(axis=-1)  # [B]
        chances = probability(logits, choice)
        for row in self._open:
            self._sequences[row].append(int(choice[row]))
            self._probabilities[row].append(float(chances[row]))
        self._open = [row for row in self._open if choice[row] != self._end]
        self._step += 1
        if not self._open or self._step == self.limit:
            return None
        tokens = np.full((len(choice), 1), self._pad, np.int64)
        tokens[self._open, 0] = choice[self._open]
        return tokens

    def decoded(self) -> list[Decoded]:
        """The texts, once they are over."""
        assert self._first_logits is not None  # at least one token was taken
        return [
            Decoded(tuple(ids), tuple(chances), logits)
            for ids, chances, logits in zip(self._sequences, self._probabilities, self._first_logits, strict=True)
        ]
