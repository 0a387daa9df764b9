"""One number for any mixture of graphs: how far its next-token distributions are from FP32's, on a few pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_app.camera.files import load_image
from edge_app.model.image import to_pixels
from edge_app.model.manifest import Task
from edge_app.model.vlm import VisionLanguageModel
from export.examples import Example, Question
from export.quality import kl_divergence, next_tokens, say, texts_of


@dataclass(frozen=True)
class _Reference:
    """What FP32 said, and its log-probabilities [new tokens, V] (float32: BLIP-base takes 2.4 MB for 20 tokens)."""

    task: Task
    question: Question | None
    token_ids: tuple[int, ...]
    expected: NDArray[np.float32]


class Yardstick:
    """Mean KL against FP32 as a share of what may be lost; the worse task counts."""

    def __init__(self, fp32: VisionLanguageModel, examples: Sequence[Example], allowed: Mapping[Task, float]) -> None:
        """Run FP32 over the pictures and keep what it said.

        Args:
            fp32: the reference.
            examples: a few pictures.
            allowed: task -> the largest mean KL it may have, in nats a token.
        """
        self._allowed = allowed
        self._samples: list[tuple[NDArray[np.float32], list[_Reference]]] = []
        for example in examples:
            pixels = to_pixels(load_image(example.path), fp32.manifest.image)
            encoding = fp32.encode_pixels(pixels)
            references = []
            for task, question in texts_of(fp32.manifest.tasks, example):
                ids = say(fp32, encoding, question).token_ids
                expected = next_tokens(fp32, task, encoding, question, ids)
                references.append(_Reference(task, question, ids, expected.astype(np.float32)))
            self._samples.append((pixels, references))

    def measure(self, model: VisionLanguageModel) -> float:
        """0 for FP32 itself, 1 for all that may be lost."""
        divergences: dict[Task, list[float]] = {task: [] for task in self._allowed}
        for pixels, references in self._samples:
            encoding = model.encode_pixels(pixels)
            for reference in references:
                actual = next_tokens(model, reference.task, encoding, reference.question, reference.token_ids)
                divergences[reference.task] += kl_divergence(reference.expected.astype(np.float64), actual)
        return max(float(np.mean(values)) / self._allowed[task] for task, values in divergences.items())
