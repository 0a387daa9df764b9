"""Parity: the runtime's own loop against transformers' `generate`, on the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from edge_app.model.image import to_pixels
from edge_app.model.manifest import Generation, Task
from edge_app.model.vlm import VisionLanguageModel
from export.checkpoint import Checkpoint


@dataclass(frozen=True)
class Parity:
    """How a bundle compares with its checkpoint on one task.

    Attributes:
        samples: pictures compared.
        identical: of them, those with exactly the same token ids.
        token_agreement: share of new tokens, position by position, that are the same.
        pixel_error: mean absolute error of the pixel tensor, in units of 1/255.
    """

    task: Task
    samples: int
    identical: int
    token_agreement: float
    pixel_error: float

    def __str__(self) -> str:
        """One line for the end of an export."""
        return (
            f"{self.task}: {self.identical} of {self.samples} identical to transformers, "
            f"{self.token_agreement:.1%} of tokens, pixel error {self.pixel_error:.4f} of 255"
        )


def reference_ids(
    checkpoint: Checkpoint,
    task: Task,
    pixels: NDArray[np.float32],
    options: Generation,
    *,
    prompt_ids: Sequence[int] = (),
    question_ids: Sequence[int] = (),
) -> list[list[int]]:
    """Token ids transformers generates for each picture of a batch, cut after the end token.

    Args:
        checkpoint: the loaded checkpoint.
        task: caption or vqa.
        pixels: [B, 3, H, W].
        options: decoding options.
        prompt_ids: for captions, the start token and the prompt's words; the same for all.
        question_ids: for vqa; the same for all.
    """
    model = checkpoint.model
    text = model.config.text_config
    settings: dict[str, Any] = {
        "num_beams": options.beams,
        "do_sample": False,
        "max_new_tokens": options.max_new_tokens,
        "min_new_tokens": options.min_new_tokens,
        "repetition_penalty": options.repetition_penalty,
        "length_penalty": options.length_penalty,
        "early_stopping": options.early_stopping,
    }
    values = torch.from_numpy(pixels)
    with torch.no_grad():
        if task == "vqa":
            tokens = torch.tensor([list(question_ids)]).repeat(len(pixels), 1)
            ids = model.generate(pixel_values=values, input_ids=tokens, **settings)
        else:
            states = model.vision_model(pixel_values=values).last_hidden_state
            ids = model.text_decoder.generate(
                input_ids=torch.tensor([list(prompt_ids)]).repeat(len(pixels), 1),
                encoder_hidden_states=states,
                encoder_attention_mask=torch.ones(states.shape[:-1], dtype=torch.long),
                eos_token_id=text.sep_token_id,
                pad_token_id=text.pad_token_id,
                **settings,
            )
    return [_until_end(row, text.sep_token_id) for row in ids.tolist()]


def measure(
    checkpoint: Checkpoint,
    model: VisionLanguageModel,
    pictures: Sequence[NDArray[np.uint8]],
    questions: Sequence[str],
) -> list[Parity]:
    """Compare bundle and checkpoint on every task of the bundle; pictures are [H, W, 3] BGR."""
    results: list[Parity] = []
    for task in model.manifest.tasks:
        options = model.manifest.generation[task]
        identical, same, total = 0, 0, 0
        errors: list[float] = []
        for index, picture in enumerate(tqdm(pictures, desc=f"parity, {task}", unit="picture")):
            question = questions[index % len(questions)]
            encoding = model.encode(picture)
            reference_pixels = processor_pixels(checkpoint, picture)
            errors.append(pixel_error(to_pixels(picture, model.manifest.image), reference_pixels, checkpoint))
            if task == "caption":
                prompt = model.codec.prompt_ids(options.prompt)
                ours = model.caption(encoding).token_ids
                (theirs,) = reference_ids(checkpoint, task, reference_pixels, options, prompt_ids=prompt)
            else:
                prompt = [model.manifest.tokens.start]
                asked = model.codec.question_ids(question)
                ours = model.answer(encoding, question).token_ids
                (theirs,) = reference_ids(checkpoint, task, reference_pixels, options, question_ids=asked)
            identical += list(ours) == theirs
            same += sum(a == b for a, b in zip(ours[len(prompt) :], theirs[len(prompt) :], strict=False))
            total += max(len(ours), len(theirs)) - len(prompt)
        results.append(Parity(task, len(pictures), identical, same / total, float(np.mean(errors))))
    return results


def processor_pixels(checkpoint: Checkpoint, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The `pixels` tensor [1, 3, H, W] as transformers' processor makes it, from [H, W, 3] BGR."""
    rgb = np.ascontiguousarray(picture[..., ::-1])
    pixels: NDArray[np.float32] = checkpoint.processor(
        images=rgb,
        return_tensors="np",
        input_data_format="channels_last",  # else a picture one pixel high is taken for channels first
    )["pixel_values"]
    return pixels.astype(np.float32)


def pixel_error(ours: NDArray[np.float32], theirs: NDArray[np.float32], checkpoint: Checkpoint) -> float:
    """Mean absolute difference of two pixel tensors, in units of 1/255 before normalisation."""
    std = np.array(checkpoint.processor.image_std, np.float32).reshape(1, 3, 1, 1)
    return float(np.abs((ours - theirs) * std).mean() * 255)


def _until_end(ids: Sequence[int], end: int) -> list[int]:
    """Cut the padding transformers adds after the end token."""
    for index, token in enumerate(ids):
        if index > 0 and token == end:
            return list(ids[: index + 1])
    return list(ids)
