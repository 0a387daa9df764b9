"""The picture side of a model: a frame becomes image states, and these the keys and values that the text side reads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from edge_app.model.device import Graph
from edge_app.model.image import to_pixels
from edge_app.model.manifest import ImageSpec, Role


@dataclass
class Encoding:
    """One encoded frame. It lives in its encoder's own memory, so it holds until that encoder's next `encode`."""

    encoder: Encoder
    states: ov.Tensor  # [1, N, C]
    timing_ms: dict[str, float]
    serial: int
    memories: dict[Role, dict[str, ov.Tensor]] = field(default_factory=dict)

    def memory(self, role: Role) -> dict[str, ov.Tensor]:
        """Keys and values of the image for captions or questions: computed once an encoding.

        Raises:
            DeviceError: the device failed.
            ValueError: a later frame has taken the memory.
        """
        return self.encoder.memory(role, self)

    def timing(self, *, question_ms: float, spent_ms: float) -> dict[str, float]:
        """Return all stages of a request in ms; `spent_ms` is question and decode together."""
        timing = {**self.timing_ms, "question": question_ms, "decode": spent_ms - question_ms}
        timing["total"] = sum(timing.values())
        return {stage: round(value, 3) for stage, value in timing.items()}


class Encoder:
    """Vision and the image's keys and values, each with an inference request of this encoder's own."""

    def __init__(self, graphs: Mapping[Role, Graph], spec: ImageSpec) -> None:
        self._graphs = graphs
        self._spec = spec
        self._serial = 0
        self.newest: Encoding | None = None  # the one that holds

    def twin(self) -> Encoder:
        """Another encoder on the same compiled graphs: an encoding of each can be held at a time."""
        return Encoder({role: graph.twin() for role, graph in self._graphs.items()}, self._spec)

    def encode(self, image: NDArray[np.uint8]) -> Encoding:
        """Encode a frame [H, W, 3] BGR; the previous Encoding of this object becomes invalid.

        Raises:
            BadRequestError: not an image.
            DeviceError: the device failed.
        """
        started = time.perf_counter()
        pixels = to_pixels(image, self._spec)
        return self.encode_pixels(pixels, image_ms=(time.perf_counter() - started) * 1000)

    def encode_pixels(self, pixels: NDArray[np.float32], *, image_ms: float = 0.0) -> Encoding:
        """Encode a ready `pixels` tensor [1, 3, H, W], which took `image_ms` to make."""
        started = time.perf_counter()
        vision = self._graphs["vision"]
        vision.run({"pixels": pixels})
        self._serial += 1
        timing = {"image": image_ms, "vision": (time.perf_counter() - started) * 1000}
        self.newest = Encoding(self, vision.tensor("image_states"), timing, self._serial)
        return self.newest

    def memory(self, role: Role, encoding: Encoding) -> dict[str, ov.Tensor]:
        """See `Encoding.memory`."""
        if encoding.serial != self._serial:
            raise ValueError("this Encoding was overwritten by a later encode(); encode the frame again")
        if role not in encoding.memories:
            graph = self._graphs[role]
            graph.run({"image_states": encoding.states})
            encoding.memories[role] = {name: graph.tensor(name) for name in graph.outputs}
        return encoding.memories[role]
