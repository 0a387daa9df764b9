"""The best of given answers, scored as BLIP scores them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_app.model.decoder import Decoder
from edge_app.model.scores import Logits, log_softmax

RANK_SMOOTHING = 0.1  # label smoothing of BLIP's VQA loss, which its ranking uses too


def rank(
    decoder: Decoder, start: int, choices: Sequence[Sequence[int]], *, pad: int
) -> tuple[NDArray[np.float64], Logits]:
    """Score given answers as BLIP does (Li et al. 2022; blip_vqa.py, rank_answer), all in one decoder pass.

    Args:
        decoder: begun with a cache of batch len(choices).
        start: the token id each sequence begins with.
        choices: token ids of each answer, the end token included.
        pad: fills the shorter ones.

    Returns:
        scores [len(choices)]: minus the label-smoothed cross-entropy summed over the tokens of an answer, not
            normalised by length; the largest wins.
        first_logits [V]: raw logits of the first token, which are the same for all choices.
    """
    width = max(len(choice) for choice in choices)
    targets = np.full((len(choices), width), pad, np.int64)
    counted = np.zeros((len(choices), width), bool)
    for row, choice in enumerate(choices):
        targets[row, : len(choice)] = choice
        counted[row, : len(choice)] = True
    tokens = np.concatenate([np.full((len(choices), 1), start, np.int64), targets[:, :-1]], axis=1)
    logits = decoder.forward(tokens)  # [C, width, V]
    plain = log_softmax(logits)
    chosen = np.take_along_axis(plain, targets[..., None], axis=-1)[..., 0]  # [C, width]
    smoothed = (1 - RANK_SMOOTHING) * chosen + RANK_SMOOTHING * plain.mean(axis=-1)
    scores: NDArray[np.float64] = np.where(counted, smoothed, 0).sum(axis=1, dtype=np.float64)
    return scores, logits[0, 0].copy()
