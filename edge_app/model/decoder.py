"""The decoder graph and its KV cache as one object: token ids in, logits out.

The inputs of a pass stay bound for the next one of the same width and are written in place: most passes are steps of
one token a sequence, and such a step costs Python next to nothing beside the graph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_app.errors import DeviceError
from edge_app.model.device import Graph
from edge_app.model.kv_cache import KvCache, memory_names
from edge_app.model.manifest import TextSpec


class Decoder:
    """Feeds one decoder graph; `begin` starts a sequence (or a batch, or beams), `forward` continues it."""

    def __init__(self, graph: Graph, spec: TextSpec) -> None:
        self._present_names = [name.replace("memory", "present", 1) for name in memory_names(spec.layers)]
        self._graph = graph
        self._positions = np.arange(spec.max_positions, dtype=np.int64)
        self.max_positions = spec.max_positions

    def begin(self, cache: KvCache) -> None:
        """Bind a cache: its arrays stay bound, and shared, until the next `begin`."""
        self.cache = cache
        self._graph.bind({**cache.memory, "memory_mask": cache.memory_mask, **cache.past})
        self._inputs: dict[str, NDArray[Any]] = {}  # bound for passes as wide as the last one

    def forward(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Append `tokens` to the sequences and return the logits after each of them.

        Args:
            tokens: [B, T], with B the cache's batch; T is 1 for a step, more for a prompt or a draft.

        Returns:
            [B, T, V], a view that the next call overwrites. The cache has grown by T positions.

        Raises:
            DeviceError: the device failed or returned values that are not finite.
        """
        cache = self.cache
        width = tokens.shape[1]
        inputs = self._inputs
        if not inputs or inputs["tokens"].shape != tokens.shape:
            types = self._graph.types
            inputs = self._inputs = {
                "tokens": np.empty(tokens.shape, types["tokens"]),
                "positions": np.empty(width, types["positions"]),
                "self_mask": np.empty((1, 1, width, cache.capacity + width), types["self_mask"]),
            }
            self._graph.bind(inputs)
        inputs["tokens"][:] = tokens
        inputs["positions"][:] = self._positions[cache.length : cache.length + width]
        cache.write_mask(inputs["self_mask"])
        self._graph.infer()
        logits = self._graph.array("logits")
        # A sum is finite only if every term is (logits are far too small to overflow): one pass, no temporary.
        if not np.isfinite(logits.sum(dtype=np.float64)):
            raise DeviceError(
                f"The decoder on {self._graph.device} returned logits that are not finite; "
                "its driver or its memory is at fault."
            )
        cache.append([self._graph.array(name) for name in self._present_names])
        return logits
