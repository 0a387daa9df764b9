"""What the public ways have in common: a picture and perhaps a question go in, `generate` does the rest, each time.

Neither transformers nor the notebook has a memory of the picture: `model.generate(pixel_values=..., input_ids=...)` and
`generate_answer(pixel_values, input_ids, ...)` take pixels and encode them, whatever was asked before. So a further
question costs as much as the first one, and ten rules ten times as much. Batching does not help: the picture would have
to be repeated in the batch, and its encoding is most of the time. Whoever reads the source can call the parts
by hand and keep the picture's states; the methods named `_kept` do so and are reported on lines of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Resampling
from transformers import AutoTokenizer, BlipConfig
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from edge_app.model.image import to_pixels
from edge_app.model.manifest import ImageSpec
from edge_app.model.work import Picture
from tests.bench.contender import RULE_TOKENS, Ids

Pixels = NDArray[np.float32]  # [1, 3, H, W]
Asked = NDArray[np.int64]  # [1, T] token ids of a question

# Keywords of `generate`: greedy, with a past, and exactly so many new tokens.
Forced = dict[str, int | bool]


def forced(tokens: int) -> Forced:
    """Settings of `generate` for exactly `tokens` new tokens."""
    return {"max_new_tokens": tokens, "min_new_tokens": tokens, "num_beams": 1, "do_sample": False, "use_cache": True}


def image_spec(checkpoint: Path) -> ImageSpec:
    """How the checkpoint's own processor makes pixels of a picture."""
    vision: Any = BlipConfig.from_pretrained(checkpoint).vision_config
    processor = BlipImageProcessorPil.from_pretrained(checkpoint)
    side = vision.image_size // vision.patch_size
    return ImageSpec.model_validate(
        {
            "height_px": processor.size["height"],
            "width_px": processor.size["width"],
            "mean": tuple(processor.image_mean),
            "std": tuple(processor.image_std),
            "resampling": Resampling(processor.resample).name.lower(),
            "prefix_positions": 1,
            "patch_rows": side,
            "patch_columns": side,
        }
    )


class PublicWay(ABC):
    """A `Contender` on top of the two calls that the public ways offer."""

    def __init__(self, checkpoint: Path) -> None:
        """Read tokenizer and image settings of the VQA checkpoint; those of the captioning one are the same."""
        self._tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self._image = image_spec(checkpoint)
        self._pixels: Pixels | None = None

    @abstractmethod
    def generate_caption(self, pixels: Pixels, tokens: int) -> Ids:
        """The public call for captions, without a prompt."""

    @abstractmethod
    def generate_answer(self, pixels: Pixels, question: Asked, tokens: int) -> Ids:
        """The public call for questions."""

    @abstractmethod
    def answer_kept(self, question: Asked, tokens: int) -> Ids:
        """What `generate_answer` does after it has encoded the picture, with the states of its last call."""

    def caption(self, image: Picture, tokens: int) -> Ids:
        return self.generate_caption(to_pixels(image, self._image), tokens)

    def caption_like_last(self, image: Picture, tokens: int) -> Ids:
        """No public way makes use of the last caption."""
        return self.caption(image, tokens)

    def first_question(self, image: Picture, question: str, tokens: int) -> Ids:
        self._pixels = to_pixels(image, self._image)
        return self.further_question(question, tokens)

    def further_question(self, question: str, tokens: int) -> Ids:
        if self._pixels is None:
            raise ValueError("There is no picture to ask about; call first_question before further_question.")
        return self.generate_answer(self._pixels, self._asked(question), tokens)

    def further_question_kept(self, question: str, tokens: int) -> Ids:
        return self.answer_kept(self._asked(question), tokens)

    def rules(self, image: Picture, questions: Sequence[str]) -> list[Ids]:
        pixels = to_pixels(image, self._image)
        return [self.generate_answer(pixels, self._asked(question), RULE_TOKENS) for question in questions]

    def rules_kept(self, image: Picture, questions: Sequence[str]) -> list[Ids]:
        first, *others = questions
        answer = self.generate_answer(to_pixels(image, self._image), self._asked(first), RULE_TOKENS)
        return [answer, *(self.answer_kept(self._asked(question), RULE_TOKENS) for question in others)]

    def _asked(self, question: str) -> Asked:
        ids: Asked = np.array([self._tokenizer(question)["input_ids"]], np.int64)
        return ids
