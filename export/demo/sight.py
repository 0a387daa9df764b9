"""Who looks: a demo bundle through the board's own loop, or a checkpoint through transformers.

Both are an `Eyes`: given a picture they return a `Sight`, which captions it and answers about it. So the same figures
come from the PyTorch model and from every precision of its bundles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.demo import questions
from export.demo.lengths import MAX_NEW_TOKENS
from export.errors import ExportError

TASKS = frozenset({"caption", "vqa"})  # of every demo model

Image = NDArray[np.uint8]  # [H, W, 3] BGR


@dataclass(frozen=True)
class Answer:
    """A text, and P(yes) against "no" at its first token (0..1) where the model tells it."""

    text: str
    p_yes: float | None = None


class Sight(Protocol):
    """One picture, seen."""

    def caption(self) -> str:
        """What there is."""

    def answer(self, question: str) -> Answer:
        """What is asked."""


Eyes = Callable[[Image], Sight]


def open_eyes(folder: Path, threads: int = 0) -> Eyes:
    """The bundle or checkpoint in `folder`; `threads` 0 leaves their number to the library.

    Raises:
        ExportError: no such folder, one that is neither, a broken checkpoint, or a model that lacks one of `TASKS`.
        EdgeAppError: a broken bundle.
    """
    if not folder.is_dir():
        raise ExportError(f"There is no folder {folder}; give that of a demo bundle, or a checkpoint's.")
    if (folder / "manifest.json").is_file():
        return bundle_eyes(folder, threads)
    if (folder / "config.json").is_file():
        return checkpoint_eyes(folder, threads)
    raise ExportError(
        f"{folder} is neither a bundle, which has a manifest.json, nor a checkpoint, which has a config.json; "
        "choose another folder."
    )


def bundle_eyes(folder: Path, threads: int = 0) -> Eyes:
    """A bundle on the CPU."""
    from edge_app.model.loading import load_models

    (model,) = load_models([folder], device="CPU", threads=threads).models
    _check_tasks(folder, model.manifest.tasks)

    class BundleSight:
        def __init__(self, image: Image) -> None:
            self._encoding = model.encode(image)

        def caption(self) -> str:
            return model.caption(self._encoding).text

        def answer(self, question: str) -> Answer:
            text = model.answer(self._encoding, question)
            return Answer(text.text, text.p_yes)

    return BundleSight


def checkpoint_eyes(folder: Path, threads: int = 0) -> Eyes:
    """A checkpoint run by transformers: the reference that a bundle is measured against."""
    import torch

    from export.checkpoint import load, quiet_transformers
    from export.families import blip

    if threads:
        torch.set_num_threads(threads)
    quiet_transformers()
    checkpoint = load(str(folder.resolve()))  # an absolute path is never taken for a name on a model hub
    model, tokenizer, processor = checkpoint.model, checkpoint.tokenizer, checkpoint.processor
    _check_tasks(folder, blip.tasks_of(model))
    text_config = model.config.text_config
    yes_no = [tokenizer.convert_tokens_to_ids(word) for word in (questions.YES, questions.NO)]
    ends = {"eos_token_id": text_config.sep_token_id, "pad_token_id": text_config.pad_token_id}

    class CheckpointSight:
        def __init__(self, image: Image) -> None:
            pixels = processor(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                self._states = model.vision_model(pixel_values=pixels).last_hidden_state

        @torch.inference_mode()
        def caption(self) -> str:
            start = torch.tensor([[text_config.bos_token_id]])
            ids = model.text_decoder.generate(
                input_ids=start, encoder_hidden_states=self._states, max_new_tokens=MAX_NEW_TOKENS, **ends
            )
            return str(tokenizer.decode(ids[0, 1:], skip_special_tokens=True))

        @torch.inference_mode()
        def answer(self, question: str) -> Answer:
            asked = tokenizer(question, return_tensors="pt", return_token_type_ids=False)
            memory = model.text_encoder(**asked, encoder_hidden_states=self._states).last_hidden_state
            output = model.text_decoder.generate(
                input_ids=torch.tensor([[text_config.bos_token_id]]),
                encoder_hidden_states=memory,
                max_new_tokens=MAX_NEW_TOKENS,
                output_scores=True,
                return_dict_in_generate=True,
                **ends,
            )
            p_yes = output.scores[0][0, yes_no].softmax(-1)[0].item()
            return Answer(str(tokenizer.decode(output.sequences[0, 1:], skip_special_tokens=True)), p_yes)

    return CheckpointSight


def _check_tasks(folder: Path, tasks: Iterable[str]) -> None:
    if lacking := TASKS - set(tasks):
        raise ExportError(
            f"The model in {folder} does not serve {' and '.join(sorted(lacking))}; a demo model captions and answers."
        )
