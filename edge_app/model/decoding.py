"""The decode loop, written by hand: greedy, beam search and ranking of given answers.

Token for token what transformers 5 does in `generate` (GenerationMixin._sample without sampling, _beam_search), with
one decoder call a step and the KV cache in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_app.model.decoder import Decoder
from edge_app.model.manifest import Generation

Logits = NDArray[np.float32]

RANK_SMOOTHING = 0.1  # label smoothing of BLIP's VQA loss, which its ranking uses too
_NEVER = -1e9  # score of a beam that must not be chosen, as transformers has it


@dataclass(frozen=True)
class Decoded:
    """One decoded sequence.

    Attributes:
        token_ids: prompt, new tokens and, unless the length ran out, the end token.
        probabilities: of each new token (the end token included), by the model's own softmax.
        first_logits: [V] raw logits of the first new token; P(yes) is read from them.
    """

    token_ids: tuple[int, ...]
    probabilities: tuple[float, ...]
    first_logits: Logits = field(repr=False)

    @property
    def confidence(self) -> float:
        """Mean probability of the new tokens, 0..1."""
        return float(np.mean(self.probabilities)) if self.probabilities else 0.0


def decode(decoder: Decoder, prompt: NDArray[np.int64], options: Generation, *, end: int, pad: int) -> list[Decoded]:
    """Decode one sequence a row of `prompt` [B, T]; beams are for B = 1 (the cache's batch is then options.beams)."""
    if options.beams == 1:
        return greedy(decoder, prompt, options, end=end, pad=pad)
    return [beam_search(decoder, prompt[0], options, end=end)]


def greedy(decoder: Decoder, prompt: NDArray[np.int64], options: Generation, *, end: int, pad: int) -> list[Decoded]:
    """Take the most probable token, step by step, for a batch of sequences.

    Args:
        decoder: begun with a cache of batch B.
        prompt: [B, T].
        options: limits and penalties.
        end: token id that ends a sequence.
        pad: token id that a finished row is fed while others go on.
    """
    batch = prompt.shape[0]
    sequences: list[list[int]] = [list(map(int, row)) for row in prompt]
    probabilities: list[list[float]] = [[] for _ in range(batch)]
    open_rows = list(range(batch))
    first_logits: Logits | None = None
    tokens = prompt
    for step in range(options.max_new_tokens):
        logits = decoder.forward(tokens)[:, -1]  # [B, T, V] -> [B, V]
        if first_logits is None:
            first_logits = logits.copy()
        scores = _penalise(logits, sequences, options, step, end)
        choice = scores.argmax(axis=-1)  # [B]
        chances = _probability(logits, choice)
        for row in open_rows:
            sequences[row].append(int(choice[row]))
            probabilities[row].append(float(chances[row]))
        open_rows = [row for row in open_rows if choice[row] != end]
        if not open_rows:
            break
        tokens = np.full((batch, 1), pad, np.int64)
        tokens[open_rows, 0] = choice[open_rows]
    assert first_logits is not None  # max_new_tokens >= 1
    return [
        Decoded(tuple(ids), tuple(chances), logits)
        for ids, chances, logits in zip(sequences, probabilities, first_logits, strict=True)
    ]


def beam_search(decoder: Decoder, prompt: NDArray[np.int64], options: Generation, *, end: int) -> Decoded:
    """Beam search over one sequence, with transformers' scores, tie breaks and stopping rules.

    A hypothesis that ends leaves the running beams and competes, by log-probability / length ** length_penalty, for one
    of `beams` finished places. Of the 2 x beams best continuations only the first `beams` may finish.

    Args:
        decoder: begun with a cache of batch `options.beams`.
        prompt: [T].
        options: beams, limits and penalties.
        end: token id that ends a hypothesis.
    """
    beams = options.beams
    running = [_Hypothesis(0.0 if beam == 0 else _NEVER, tuple(map(int, prompt)), ()) for beam in range(beams)]
    finished: list[_Hypothesis] = []
    improvable = True
    first_logits: Logits | None = None
    tokens = np.repeat(prompt[None, :], beams, axis=0)  # [T] -> [beams, T]
    for step in range(options.max_new_tokens):
        logits = decoder.forward(tokens)[:, -1]  # [beams, T, V] -> [beams, V]
        if first_logits is None:
            first_logits = logits[0].copy()
        plain = _log_softmax(logits)
        scores = _penalise(plain, [list(beam.token_ids) for beam in running], options, step, end)
        totals = scores + np.array([[beam.score] for beam in running], np.float32)  # [beams, V]
        best = _top(totals.ravel(), 2 * beams)
        vocabulary = totals.shape[1]
        last = step + 1 == options.max_new_tokens

        extended = [running[index // vocabulary].extend(index, vocabulary, totals, plain) for index in map(int, best)]
        ended = [last or hypothesis.token_ids[-1] == end for hypothesis in extended]
        if improvable and not (options.early_stopping is True and len(finished) == beams):
            length = float(step + 1) ** options.length_penalty
            finished += [
                hypothesis.scored(hypothesis.score / length)
                for hypothesis, over in zip(extended[:beams], ended[:beams], strict=True)
                if over
            ]
            finished.sort(key=lambda hypothesis: -hypothesis.score)  # stable: the earlier one wins a tie
            del finished[beams:]
        if all(ended):
            break
        # An ended hypothesis may stand among the running ones when too few others are left; like in transformers its
        # score then keeps it from ever being chosen.
        order = sorted(range(len(extended)), key=lambda index: ended[index])[:beams]
        running = [
            extended[index].scored(extended[index].score + _NEVER) if ended[index] else extended[index]
            for index in order
        ]
        improvable = improvable and _can_improve(running, finished, step + 1, options)
        if not improvable or (options.early_stopping is True and len(finished) == beams):
            break
        decoder.cache.reorder(np.array([int(best[index]) // vocabulary for index in order], np.intp))
        tokens = np.array([[hypothesis.token_ids[-1]] for hypothesis in running], np.int64)
    assert first_logits is not None  # max_new_tokens >= 1
    winner = finished[0]
    return Decoded(winner.token_ids, winner.probabilities, first_logits)


@dataclass(frozen=True)
class _Hypothesis:
    """A partial or finished sequence; `score` is its log-probability, length-normalised once finished."""

    score: float
    token_ids: tuple[int, ...]
    probabilities: tuple[float, ...]

    def extend(self, index: int, vocabulary: int, totals: Logits, plain: Logits) -> _Hypothesis:
        """Continue with candidate `index` of the flattened [beams, V] table of scores."""
        beam, token = divmod(index, vocabulary)
        chance = float(np.exp(plain[beam, token]))
        return _Hypothesis(float(totals[beam, token]), (*self.token_ids, token), (*self.probabilities, chance))

    def scored(self, score: float) -> _Hypothesis:
        return _Hypothesis(score, self.token_ids, self.probabilities)


def _can_improve(
    running: Sequence[_Hypothesis], finished: Sequence[_Hypothesis], length: int, options: Generation
) -> bool:
    """Whether the best running hypothesis could still beat the worst finished one (transformers' heuristic)."""
    if len(finished) < options.beams:
        return True
    if options.early_stopping == "never" and options.length_penalty > 0:
        length = options.max_new_tokens
    return bool(running[0].score / float(length) ** options.length_penalty > finished[-1].score)


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
    plain = _log_softmax(logits)
    chosen = np.take_along_axis(plain, targets[..., None], axis=-1)[..., 0]  # [C, width]
    smoothed = (1 - RANK_SMOOTHING) * chosen + RANK_SMOOTHING * plain.mean(axis=-1)
    scores: NDArray[np.float64] = np.where(counted, smoothed, 0).sum(axis=1, dtype=np.float64)
    return scores, logits[0, 0].copy()


def _penalise(scores: Logits, sequences: Sequence[Sequence[int]], options: Generation, step: int, end: int) -> Logits:
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


def _top(values: Logits, count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest values, largest first; of equal values the lower index first."""
    part = np.argpartition(-values, count - 1)[:count]
    return part[np.lexsort((part, -values[part]))]


def _log_softmax(logits: Logits) -> Logits:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def _probability(logits: Logits, choice: NDArray[np.intp]) -> NDArray[np.float32]:
    """Softmax probability of one token a row: [B, V], [B] -> [B]."""
    largest = logits.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(logits, choice[:, None], axis=-1)
    result: NDArray[np.float32] = (np.exp(chosen - largest) / np.exp(logits - largest).sum(axis=-1, keepdims=True))[
        :, 0
    ]
    return result
