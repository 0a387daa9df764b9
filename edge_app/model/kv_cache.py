"""The decoder's keys and values in NumPy: `memory` (fixed, from the image or question) and `past` (growing).

`past` has room for the longest output from the beginning, and the graph always sees all of it: positions not yet
written are masked. Shapes so stay the same from token to token, the arrays are bound to the inference request once,
and the loop only writes each new position in its slot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Added to attention scores of positions that must not be seen. exp(-1e4) is 0 in FP32 and -1e4 is finite in FP16,
# where -inf would make a fully masked row NaN.
MASKED = np.float32(-1e4)

CAPACITY_STEP = 32  # lengths are rounded up to this, so that few different shapes are ever compiled


def round_up_capacity(positions: int) -> int:
    """The room that a cache for `positions` has."""
    return -(-positions // CAPACITY_STEP) * CAPACITY_STEP


def memory_names(layers: int) -> list[str]:
    """Tensor names of a memory, in the order of the layers."""
    return [f"memory.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


class KvCache:
    """Past keys and values of `batch` sequences, and the memory they attend to.

    Attributes:
        past: name -> [batch, heads, capacity, head_size], one pair a layer.
        memory: name -> tensor of [batch or 1, heads, S, head_size], anything the graph takes as input.
        memory_mask: [batch or 1, 1, 1, S] additive.
        length: positions written so far.
    """

    def __init__(
        self,
        *,
        layers: int,
        heads: int,
        head_size: int,
        batch: int,
        capacity: int,
        memory: Mapping[str, Any],
        memory_mask: NDArray[np.float32],
    ) -> None:
        self.batch = batch
        self.capacity = round_up_capacity(capacity)
        self.length = 0
        self.memory = memory
        self.memory_mask = memory_mask
        shape = (batch, heads, self.capacity, head_size)
        # Zeros, not empty: a masked position still enters the matrix product, as 0 x its value.
        self.past = {
            f"past.{layer}.{part}": np.zeros(shape, np.float32) for layer in range(layers) for part in ("key", "value")
        }
        self._slots = list(self.past.values())
        self._future = np.triu(np.full((self.capacity, self.capacity), MASKED, np.float32), k=1)

    def write_mask(self, mask: NDArray[np.float32]) -> None:
        """Write the additive self-attention mask of the next tokens into `mask` [1, 1, width, capacity + width].

        Token i of the pass sees the `length` positions already written and the tokens 0..i of the pass itself.
        """
        width = mask.shape[2]
        mask[..., : self.length] = 0
        mask[..., self.length : self.capacity] = MASKED
        mask[..., self.capacity :] = self._future[:width, :width]

    def append(self, present: Sequence[NDArray[np.float32]]) -> None:
        """Write the new positions: each of `present` is [batch, heads, T, head_size]; length += T."""
        width = present[0].shape[2]
        end = self.length + width
        if end > self.capacity:
            raise ValueError(f"the KV cache holds {self.capacity} positions, {end} are needed")
        for slot, new in zip(self._slots, present, strict=True):
            slot[:, :, self.length : end] = new
        self.length = end

    def truncate(self, length: int) -> None:
        """Forget the positions from `length` on (a draft that was not accepted)."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot cut a KV cache of {self.length} positions to {length}")
        self.length = length

    def reorder(self, rows: NDArray[np.intp]) -> None:
        """Sequence i continues what was sequence rows[i]: past[i] = past[rows[i]], in place (beam search).

        Sequences beyond `rows` are padding, and stay as they are.
        """
        if np.array_equal(rows, np.arange(len(rows))):
            return
        for slot in self._slots:
            slot[: len(rows), :, : self.length] = slot[rows, :, : self.length]
