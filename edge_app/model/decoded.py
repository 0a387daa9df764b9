"""What a decode gives, whichever way it was made."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge_app.model.scores import Logits


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
