"""Endless fresh scenes for training, drawn in a worker process so that the trainer only trains.

Nothing is stored and no scene comes twice, so the model cannot learn scenes by heart. One seed gives one sequence of
batches; training that goes on takes another sequence, made from the seed and the number of steps done.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from edge_app.demo import language, questions, world
from edge_app.demo.drawing import draw
from export.demo.checkpoint import CLIP_MEAN, CLIP_STD, DEC_ID, IMAGE_PX, PAD_ID, build_tokenizer, word_ids
from export.demo.lengths import ANSWER_TOKENS, CAPTION_TOKENS, QUESTION_TOKENS
from export.demo.targets import IGNORE, MENTIONS, mention_targets, patch_targets
from export.held_signals import signals_held

QUESTIONS_PER_SCENE = 8
# Share of each kind. The slow ones get more: with equal shares colours were at 0.98 while yes or no stood at chance.
KIND_SHARES = {
    "what": 0.08,
    "colour": 0.05,
    "shape": 0.05,
    "presence": 0.17,
    "count": 0.16,
    "side": 0.13,
    "between": 0.08,
    "where": 0.08,
    "bigger": 0.06,
    "relation": 0.08,
    "none": 0.06,
}
COUNT_SHARES = (0.03, 0.12, 0.15, 0.18, 0.18, 0.17, 0.17)  # of scenes with 0 to 6 objects
DRAWN_PX = (128, 160, 208)  # camera frames come in many sizes; their reduction leaves traces that the model should know
MISREAD_SHARE = 0.25  # of the decoder's colour words, see `misread`
WITHOUT_MARK_SHARE = 0.2  # of questions without their question mark: people leave it out

_COLOUR_IDS = np.array([word_ids()[colour] for colour in world.COLOURS])

RawBatch = dict[str, NDArray[Any]]  # the fields of `Batch` as arrays, pixels still u8 [B, H, W, 3] RGB


@dataclass(frozen=True)
class Batch:
    """B pictures with Q questions each, N patches a picture; token rows are padded with [PAD].

    What the decoder reads (`..._inputs`) may differ from what it is to say, see `misread`.
    """

    pixels: Tensor  # bf16 [B, 3, IMAGE_PX, IMAGE_PX], normalised
    questions: Tensor  # i64 [B, Q * QUESTION_TOKENS], the questions of one picture side by side
    answers: Tensor  # i64 [B, Q * ANSWER_TOKENS]
    answer_inputs: Tensor
    captions: Tensor | None = None  # i64 [B, CAPTION_TOKENS]
    caption_inputs: Tensor | None = None
    patches: Tensor | None = None  # i64 [B, N, tasks], see export.demo.targets
    mentions: Tensor | None = None  # i64 [B, Q * QUESTION_TOKENS, 2], likewise


class RandomBatches(IterableDataset[RawBatch]):
    """Batches without end, as arrays that are small to hand from the worker to the trainer.

    `steps_done` are those of the training that goes on: another number, another sequence.
    """

    def __init__(self, size: int, seed: int, steps_done: int = 0) -> None:
        self._size = size
        self._entropy = (seed, steps_done) if steps_done else seed

    def __iter__(self) -> Iterator[RawBatch]:
        cv2.setNumThreads(1)  # this process has one core's worth of work and no more
        rng = np.random.default_rng(self._entropy)
        tokenizer = build_tokenizer()
        while True:
            samples = [draw_sample(rng, tokenizer) for _ in range(self._size)]
            yield {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def batches(source: IterableDataset[RawBatch]) -> Generator[Batch, None, None]:
    """The batches of `source`, made in a worker process that ends when the generator is closed.

    The worker is a new process, not a fork: OpenCV's thread pool does not survive one, and the worker would wait for
    the threads of its parent for ever where that has used OpenCV before.
    """
    loader = DataLoader(source, batch_size=None, num_workers=1, prefetch_factor=6, multiprocessing_context="spawn")
    resource_tracker.ensure_running()  # or the start would, which unblocks the signals that are held
    with signals_held():
        drawn = iter(loader)
    for raw in drawn:
        yield to_batch(raw)


def draw_sample(rng: np.random.Generator, tokenizer: Tokenizer) -> RawBatch:
    """One scene with its questions, as the rows that `RandomBatches` stacks."""
    count = int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))
    scene = world.random_scene(rng, count, world.TRAINING_PAIRS, twins=world.TRAINING_TWINS)
    asked = [
        questions.random_question(scene, rng, world.TRAINING_PAIRS, KIND_SHARES) for _ in range(QUESTIONS_PER_SCENE)
    ]
    texts = [one.text.rstrip("?") if rng.random() < WITHOUT_MARK_SHARE else one.text for one in asked]
    caption = token_row(tokenizer, language.caption(scene), CAPTION_TOKENS, first=DEC_ID)
    answers = np.stack([token_row(tokenizer, one.answer, ANSWER_TOKENS, first=DEC_ID) for one in asked])
    frame = draw(scene, DRAWN_PX[int(rng.integers(len(DRAWN_PX)))])
    return {
        "pixels": resize_rgb(frame),
        "patches": patch_targets(scene),
        "captions": caption,
        "caption_inputs": misread(caption, rng),
        "questions": np.stack([token_row(tokenizer, text, QUESTION_TOKENS) for text in texts]),
        "answers": answers,
        "answer_inputs": misread(answers, rng),
        "mentions": np.stack([mention_row(tokenizer, scene, text) for text in texts]),
    }


def resize_rgb(frame_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame as the checkpoint's image processor takes it: bicubic, aspect not kept. [IMAGE_PX, IMAGE_PX, 3] RGB"""
    picture = Image.fromarray(np.ascontiguousarray(frame_bgr[:, :, ::-1]))
    return np.asarray(picture.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC))


def normalise(rgb: NDArray[np.uint8]) -> Tensor:
    """[B, H, W, 3] of 0..255 -> f32 [B, 3, H, W] with CLIP's mean and deviation."""
    scaled = (
        torch.as_tensor(rgb.astype(np.float32)).div_(255).sub_(torch.tensor(CLIP_MEAN)).div_(torch.tensor(CLIP_STD))
    )
    return scaled.permute(0, 3, 1, 2).contiguous()


def token_row(tokenizer: Tokenizer, text: str, length: int, first: int | None = None) -> NDArray[np.int64]:
    """`[CLS] text [SEP]` padded to `length`, [CLS] replaced by `first` where given. [length]

    Raises ValueError when the text is longer: a cut-off text would teach the model to stop in the middle.
    """
    ids = tokenizer.encode(text).ids
    if len(ids) > length:
        raise ValueError(f"{text!r} has {len(ids)} tokens; raise the row's length of {length}.")
    row = np.full(length, PAD_ID, np.int64)
    row[: len(ids)] = ids
    if first is not None:
        row[0] = first
    return row


def mention_row(tokenizer: Tokenizer, scene: world.Scene, text: str) -> NDArray[np.int64]:
    """What the tokens of a question name, see `mention_targets`. [QUESTION_TOKENS, 2]"""
    tokens = tokenizer.encode(text).tokens
    row = np.full((QUESTION_TOKENS, len(MENTIONS)), IGNORE, np.int64)
    row[: len(tokens)] = mention_targets(scene, tokens)
    return row


def misread(tokens: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A copy with some colour words read as any colour: what the decoder is shown while the truth is asked of it.

    Any colour may be the true one, so an eighth of the words chosen stay the same.

    A decoder that always reads "red" before a shape learns from the language which shapes come in red, and then never
    names a pair that training withheld. One that cannot rely on the colour it read must look at the shape.
    """
    drawn = rng.choice(_COLOUR_IDS, size=tokens.shape)
    changes = np.isin(tokens, _COLOUR_IDS) & (rng.random(tokens.shape) < MISREAD_SHARE)
    return np.where(changes, drawn, tokens)


def to_batch(raw: RawBatch) -> Batch:
    """Arrays -> tensors; the questions of all scenes in one row: [B, Q, T] -> [B, Q * T]."""
    tensors = {name: torch.as_tensor(rows) for name, rows in raw.items() if name != "pixels"}
    for name in {"questions", "answers", "answer_inputs", "mentions"} & set(tensors):
        tensors[name] = tensors[name].flatten(1, 2)
    return Batch(pixels=normalise(np.asarray(raw["pixels"])).bfloat16(), **tensors)
