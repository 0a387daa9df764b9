"""P: transformers' BLIP in PyTorch, by `model.generate`, as its documentation shows it.

FP32, evaluation mode, inference mode, a cache (transformers computes the decoder's image keys and values once a call).
Not compiled: `torch.compile` needs a C++ compiler where it runs and a long start, and `generate` does not use it unless
asked. What it costs and where: arithmetic in FP32 on weights of four bytes, the picture encoded at every call, and some
hundred small PyTorch operations a token, each with an overhead of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering

from tests.bench.contender import Ids
from tests.bench.public_way import Asked, Pixels, PublicWay, forced


class PyTorchWay(PublicWay):
    """A `Contender`: the two checkpoints in PyTorch."""

    def __init__(self, caption: Path, vqa: Path) -> None:
        """Load the captioning and the VQA checkpoint."""
        super().__init__(vqa)
        self._caption = _load(BlipForConditionalGeneration, caption)
        self._vqa = _load(BlipForQuestionAnswering, vqa)
        self._states: Tensor | None = None
        # `generate` does not hand out the picture's states; this notes them in passing, for `answer_kept`.
        self._vqa.vision_model.register_forward_hook(self._note_states)

    @torch.inference_mode()
    def generate_caption(self, pixels: Pixels, tokens: int) -> Ids:
        ids = self._caption.generate(pixel_values=torch.from_numpy(pixels), **forced(tokens))
        return new_ids(ids)

    @torch.inference_mode()
    def generate_answer(self, pixels: Pixels, question: Asked, tokens: int) -> Ids:
        ids = self._vqa.generate(
            pixel_values=torch.from_numpy(pixels), input_ids=torch.from_numpy(question), **forced(tokens)
        )
        return new_ids(ids)

    @torch.inference_mode()
    def answer_kept(self, question: Asked, tokens: int) -> Ids:
        model, text = self._vqa, self._vqa.config.text_config
        asked = model.text_encoder(
            input_ids=torch.from_numpy(question), encoder_hidden_states=self._states
        ).last_hidden_state
        ids = model.text_decoder.generate(
            input_ids=torch.tensor([[model.decoder_start_token_id]]),
            encoder_hidden_states=asked,
            eos_token_id=text.sep_token_id,
            pad_token_id=text.pad_token_id,
            **forced(tokens),
        )
        return new_ids(ids)

    def _note_states(self, _module: Any, _arguments: Sequence[Any], output: Any) -> None:
        self._states = output[0]  # [1, N, C]


def _load(model_class: Any, checkpoint: Path) -> Any:
    return model_class.from_pretrained(checkpoint, dtype=torch.float32).eval()


def new_ids(ids: Tensor) -> Ids:
    """The tokens after the start token of what `generate` returned, [1, 1 + tokens]."""
    return tuple(ids[0, 1:].tolist())
