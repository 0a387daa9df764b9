"""Logits as scores: the arithmetic that every way of decoding shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_app.model.manifest import Generation

Logits = NDArray[np.float32]


def penalise(scores: Logits, sequences: Sequence[Sequence[int]], options: Generation, step: int, end: int) -> Logits:
    """Repetition penalty (Keskar et al. 2019) and minimum length; returns `scores` itself when neither applies."""
    shortens = step < options.min_new_tokens
    if options.repetition_penalty == 1.0 and not shortens:
        return scores
    scores = scores.copy()
    if options.repetition_penalty != 1.0:
        for row, ids in enumerate(sequences):
            seen = np.unique(ids)
            value = scores[row, seen]
            scores[row, seen] = np.where(
                value < 0, value * options.repetition_penalty, value / options.repetition_penalty
            )
    if shortens:
        scores[:, end] = -np.inf
    return scores


def log_softmax(logits: Logits) -> Logits:
    """Log-probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def probability(logits: Logits, choice: NDArray[np.intp]) -> NDArray[np.float32]:
    """Softmax probability of one token a row: [B, V], [B] -> [B]."""
    largest = logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(logits, choice[:, None], axis=-1)
    result: NDArray[np.float32] = (np.exp(chosen - largest) / np.exp(logits - largest).sum(axis=-1, keepdims=True))[
        :, 0
    ]
    return result
