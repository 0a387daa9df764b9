"""Beam search: token for token what transformers 5 does in `GenerationMixin._beam_search`, without sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_app.model.decoded import Decoded
from edge_app.model.decoder import Decoder
from edge_app.model.manifest import Generation
from edge_app.model.scores import Logits, log_softmax, penalise

_NEVER = -1e9  # score of a beam that must not be chosen, as transformers has it


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
        plain = log_softmax(logits)
        scores = penalise(plain, [list(beam.token_ids) for beam in running], options, step, end)
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


def _top(values: Logits, count: int) -> NDArray[np.intp]:
    """Indices of the `count` largest values, largest first; of equal values the lower index first."""
    part = np.argpartition(-values, count - 1)[:count]
    return part[np.lexsort((part, -values[part]))]
