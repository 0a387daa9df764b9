"""What the model said, and how sure it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_app.model.manifest import Tokens


@dataclass(frozen=True)
class Text:
    """What the model said.

    Attributes:
        text: decoded, prompt removed.
        token_ids: prompt, text and end token.
        confidence: mean probability of the decoded tokens, or the share of the winning choice; 0..1.
        p_yes: P(yes) / (P(yes) + P(no)) at the first answer token; None for captions.
        yes_no_mass: P(yes) + P(no): near 0 when the question is not a yes/no question.
        tokens: decoded tokens, end token included.
        timing_ms: image, vision, question, decode, total.
    """

    text: str
    token_ids: tuple[int, ...]
    confidence: float
    p_yes: float | None
    yes_no_mass: float | None
    tokens: int
    timing_ms: dict[str, float]


def yes_no(first_logits: NDArray[np.float32], tokens: Tokens) -> tuple[float | None, float | None]:
    """P(yes) / (P(yes) + P(no)), and P(yes) + P(no), of the raw logits [V] of the first answer token.

    None where the vocabulary lacks one of the words.
    """
    if tokens.yes is None or tokens.no is None:
        return None, None
    logits = first_logits.astype(np.float64)
    shares = np.exp(logits - logits.max())
    p_yes, p_no = shares[tokens.yes] / shares.sum(), shares[tokens.no] / shares.sum()
    if p_yes + p_no == 0:
        return 0.5, 0.0
    return float(p_yes / (p_yes + p_no)), float(p_yes + p_no)
