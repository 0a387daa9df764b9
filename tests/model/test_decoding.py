"""The loop's arithmetic on a model small enough to compute by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.model.beam import beam_search
from edge_app.model.decoder import Decoder
from edge_app.model.greedy import greedy
from edge_app.model.manifest import Generation
from edge_app.model.ranking import RANK_SMOOTHING, rank

# Vocabulary: 0 pad, 1 start, 2 end, 3 "a", 4 "b". P(next | last token) of a first-order chain.
PAD, START, END, A, B = range(5)
CHAIN = np.full((5, 5), 1e-9)
CHAIN[START, [A, B]] = 0.6, 0.4
CHAIN[A, [END, A, B]] = 0.3, 0.35, 0.35
CHAIN[B, [END, A, B]] = 0.9, 0.05, 0.05
CHAIN[END, [END, A]] = 0.5, 0.5


class ChainDecoder:
    """Stands for a Decoder: logits are the chain's log-probabilities plus a constant a softmax removes."""

    def __init__(self) -> None:
        self.passes = 0
        self.cache = SimpleNamespace(reorder=list)

    def forward(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        self.passes += 1
        logits: NDArray[np.float32] = (np.log(CHAIN[tokens]) + 7).astype(np.float32)
        return logits


def chain() -> Decoder:
    return cast(Decoder, ChainDecoder())


def test_greedy_takes_the_best_token_each_time() -> None:
    """From START: a (0.6), then a (0.35, the lower id of two equals), a, ... until the limit of 3 tokens.

    Confidence: (0.6 + 0.35 + 0.35) / 3 = 0.4333.
    """
    (text,) = greedy(chain(), np.array([[START]]), Generation(max_new_tokens=3), end=END, pad=PAD)
    assert text.token_ids == (START, A, A, A)
    assert text.confidence == pytest.approx(1.3 / 3, abs=1e-4)


def test_two_beams_find_what_greedy_misses() -> None:
    """Log-probabilities over length: `b END` = (ln 0.4 + ln 0.9) / 2 = -0.511, better than any text that begins with a.

    `a END` = (ln 0.6 + ln 0.3) / 2 = -0.857; `a a END` = (ln 0.6 + ln 0.35 + ln 0.3) / 3 = -0.921.
    """
    text = beam_search(chain(), np.array([START]), Generation(beams=2, max_new_tokens=4), end=END)
    assert text.token_ids == (START, B, END)
    assert text.confidence == pytest.approx((0.4 + 0.9) / 2, abs=1e-4)


def test_a_finished_row_stays_finished_while_the_batch_goes_on() -> None:
    """Row 0 begins with b and ends at once; row 1 begins with a and runs on; neither changes the other."""
    texts = greedy(chain(), np.array([[B], [A]]), Generation(max_new_tokens=4), end=END, pad=PAD)
    assert [text.token_ids for text in texts] == [(B, END), (A, A, A, A, A)]


def test_an_end_at_the_first_step_ends_the_text() -> None:
    """The very first token is checked for the end token too: one decoder pass, no more."""
    decoder = ChainDecoder()
    (text,) = greedy(cast(Decoder, decoder), np.array([[B]]), Generation(), end=END, pad=PAD)
    assert text.token_ids == (B, END)
    assert decoder.passes == 1


def test_minimum_length_forbids_the_end() -> None:
    """With min_new_tokens = 2 the text `b END` is not allowed, and the next best token takes END's place."""
    (text,) = greedy(chain(), np.array([[B]]), Generation(min_new_tokens=2, max_new_tokens=3), end=END, pad=PAD)
    assert text.token_ids == (B, A, A, A)


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    """After `a`, logits are ln 0.35 + 7 = 5.95 for a and b; a penalty of 1.1 takes a to 5.41, so b (5.95) wins."""
    options = Generation(repetition_penalty=1.1, max_new_tokens=1)
    (text,) = greedy(chain(), np.array([[START, A]]), options, end=END, pad=PAD)
    assert text.token_ids == (START, A, B)


def test_rank_sums_smoothed_log_probabilities() -> None:
    """Each token scores 0.9 ln p + 0.1 mean(ln p of the vocabulary); padding counts nothing."""
    scores, first_logits = rank(chain(), START, [[B, END], [A, A, END]], pad=PAD)

    def token(last: int, target: int) -> float:
        return float((1 - RANK_SMOOTHING) * np.log(CHAIN[last, target]) + RANK_SMOOTHING * np.log(CHAIN[last]).mean())

    by_hand = [token(START, B) + token(B, END), token(START, A) + token(A, A) + token(A, END)]
    np.testing.assert_allclose(scores, by_hand, rtol=1e-4)
    assert first_logits.argmax() == A
