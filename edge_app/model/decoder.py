"""The decoder graph and its KV cache as one object: token ids in, logits out.

The inputs of a pass stay bound for the next one of the same width and are written in place: most passes are steps of
one token a sequence, and such a step costs Python next to nothing beside the graph.

A pass is padded to one of the lengths of `Shapes`, to the right: no token sees one that comes after it, so what was
added changes nothing, and it is neither returned nor kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_app.errors import DeviceError
from edge_app.model.device import Graph
from edge_app.model.kv_cache import KvCache, memory_names
from edge_app.model.manifest import TextSpec
from edge_app.model.shapes import FREE, Shapes


class Decoder:
    """Feeds one decoder graph; `begin` starts a sequence (or a batch, or beams), `forward` continues it."""

    def __init__(self, graph: Graph, spec: TextSpec, shapes: Shapes = FREE) -> None:
        self._present_names = [name.replace("memory", "present", 1) for name in memory_names(spec.layers)]
        self._graph = graph
        self._shapes = shapes
        self.max_positions = spec.max_positions
        # A pass that is padded would ask for positions past the last one, which the graph's table does not have.
        positions = np.arange(spec.max_positions + max(shapes.passes, default=0), dtype=np.int64)
        self._positions = np.minimum(positions, spec.max_positions - 1)

    def begin(self, cache: KvCache) -> None:
        """Bind a cache: its arrays stay bound, and shared, until the next `begin`."""
        self.cache = cache
        self._graph.bind({**cache.memory, "memory_mask": cache.memory_mask, **cache.past})
        self._inputs: dict[str, NDArray[Any]] = {}  # bound for passes as wide as the last one

    def forward(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Append `tokens` to the sequences and return the logits after each of them.

        Args:
            tokens: [B, T], with B not above the cache's batch, which may be padded; T is 1 for a step, more for a
                prompt or a draft.

        Returns:
            [B, T, V], which the next call may overwrite. The cache has grown by T positions.

        Raises:
            DeviceError: the device failed or returned values that are not finite.
        """
        pieces = self._shapes.pass_pieces(tokens.shape[1])
        if len(pieces) == 1:
            return self._pass(tokens)
        return np.concatenate([self._pass(tokens[:, piece]).copy() for piece in pieces], axis=1)

    def _pass(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """One run of the graph: see `forward`."""
        cache = self.cache
        rows, real = tokens.shape
        width = self._shapes.pass_width(real)
        inputs = self._inputs
        if not inputs or inputs["tokens"].shape != (cache.batch, width):
            inputs = self._inputs = {
                "tokens": np.zeros((cache.batch, width), np.int64),  # where padded, any token will do
                "positions": np.empty(width, np.int64),
                "self_mask": np.empty((1, 1, width, cache.capacity + width), np.float32),
            }
            self._graph.bind(inputs)
        inputs["tokens"][:rows, :real] = tokens
        inputs["positions"][:] = self._positions[cache.length : cache.length + width]
        cache.write_mask(inputs["self_mask"])
        self._graph.infer()
        logits = self._graph.array("logits")[:rows, :real]
        # A sum is finite only if every term is (logits are far too small to overflow): one pass, no temporary.
        if not np.isfinite(logits.sum(dtype=np.float64)):
            raise DeviceError(
                f"The decoder on {self._graph.device} returned logits that are not finite; "
                "its driver or its memory is at fault."
            )
        cache.append([self._graph.array(name)[:, :, :real] for name in self._present_names])
        return logits
