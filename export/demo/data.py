"""Endless fresh scenes for training, drawn in a worker process so that the trainer only trains.

Nothing is stored and no scene comes twice, so the model cannot learn scenes by heart. One seed gives one sequence of
batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from edge_app.demo import language, world
from export.demo.checkpoint import (
    CLIP_MEAN,
    CLIP_STD,
    DEC_ID,
    IMAGE_PX,
    PAD_ID,
    PATCH_PX,
    build_tokenizer,
    word_ids,
)

QUESTIONS_PER_SCENE = 4
# The slow kinds get more: with equal shares, 12 minutes brought colours to 0.98 and left yes or no at chance, 0.52.
KIND_SHARES = {"colour": 0.06, "shape": 0.08, "presence": 0.28, "count": 0.08, "side": 0.25, "where": 0.25}
COUNT_SHARES = (0.04, 0.26, 0.35, 0.35)  # of scenes with 0, 1, 2, 3 objects
DRAWN_PX = (96, 128, 160)  # camera frames come in many sizes; their reduction leaves traces that the model should know
PATCH_SHARE = 0.2  # of a patch that an object must cover to be the patch's class
MISREAD_SHARE = 0.25  # of the decoder's colour words, see `misread`
WITHOUT_MARK_SHARE = 0.2  # of questions without their question mark: people leave it out

CAPTION_TOKENS = 14  # [DEC], three times "a red circle", "and" between them, [SEP]
QUESTION_TOKENS = 14  # [CLS], at most 12 words and the mark, [SEP]
ANSWER_TOKENS = 5  # [DEC] a blue square [SEP]

_COLOUR_IDS = np.array([word_ids()[colour] for colour in world.COLOURS])

RawBatch = dict[str, NDArray[Any]]  # the fields of `Batch` as arrays, pixels still u8 [B, H, W, 3] RGB


@dataclass(frozen=True)
class Batch:
    """B scenes with Q questions each, N patches a scene; token rows are padded with [PAD]."""

    pixels: Tensor  # f32 [B, 3, IMAGE_PX, IMAGE_PX], normalised
    patch_colours: Tensor  # i64 [B, N]: 0 for the ground, else 1 + the colour's index
    patch_shapes: Tensor  # i64 [B, N], likewise
    captions: Tensor  # i64 [B, CAPTION_TOKENS]
    caption_inputs: Tensor  # likewise, with some colours misread
    questions: Tensor  # i64 [B * Q, QUESTION_TOKENS], the questions of one scene side by side
    answers: Tensor  # i64 [B * Q, ANSWER_TOKENS]
    answer_inputs: Tensor  # likewise, with some colours misread


class RandomBatches(IterableDataset[RawBatch]):
    """Batches without end, as arrays that are small to hand from the worker to the trainer."""

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._seed = seed

    def __iter__(self) -> Iterator[RawBatch]:
        cv2.setNumThreads(1)  # this process has one core's worth of work and no more
        rng = np.random.default_rng(self._seed)
        tokenizer = build_tokenizer()
        while True:
            samples = [draw_sample(rng, tokenizer) for _ in range(self._size)]
            yield {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


def batches(size: int, seed: int) -> Iterator[Batch]:
    """Batches of `size` scenes for ever; the worker process ends with the iterator."""
    loader = DataLoader(RandomBatches(size, seed), batch_size=None, num_workers=1, prefetch_factor=6)
    return map(_to_batch, loader)


def draw_sample(rng: np.random.Generator, tokenizer: Tokenizer) -> RawBatch:
    """One scene with its questions, as the rows that `RandomBatches` stacks."""
    scene = world.random_scene(rng, int(rng.choice(4, p=COUNT_SHARES)), world.TRAINING_PAIRS)
    asked = [
        language.random_question(scene, rng, world.TRAINING_PAIRS, KIND_SHARES) for _ in range(QUESTIONS_PER_SCENE)
    ]
    texts = [one.text.rstrip("?") if rng.random() < WITHOUT_MARK_SHARE else one.text for one in asked]
    colours, shapes = patch_classes(scene)
    caption = token_row(tokenizer, language.caption(scene), CAPTION_TOKENS, first=DEC_ID)
    answers = np.stack([token_row(tokenizer, one.answer, ANSWER_TOKENS, first=DEC_ID) for one in asked])
    frame = world.draw(scene, DRAWN_PX[int(rng.integers(len(DRAWN_PX)))])
    return {
        "pixels": resize_rgb(frame),
        "patch_colours": colours,
        "patch_shapes": shapes,
        "captions": caption,
        "caption_inputs": misread(caption, rng),
        "questions": np.stack([token_row(tokenizer, text, QUESTION_TOKENS) for text in texts]),
        "answers": answers,
        "answer_inputs": misread(answers, rng),
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


def patch_classes(scene: world.Scene) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Colour and shape class of each patch, row by row: 0 for the ground, else 1 + the index. Both [N]"""
    side = IMAGE_PX // PATCH_PX
    cells = world.object_map(scene, IMAGE_PX).reshape(side, PATCH_PX, side, PATCH_PX)
    numbers = np.arange(len(scene.objects) + 1)[:, None, None, None, None]
    share = (cells == numbers).mean(axis=(2, 4))  # [objects + 1, side, PATCH, side, PATCH] -> [objects + 1, side, side]
    share[0] = PATCH_SHARE  # the ground wins where no object covers its least share
    winner = share.argmax(axis=0).reshape(-1)
    colours, shapes = list(world.COLOURS), list(world.SHAPES)
    colour_of = np.array([0, *(1 + colours.index(item.colour) for item in scene.objects)])
    shape_of = np.array([0, *(1 + shapes.index(item.shape) for item in scene.objects)])
    return colour_of[winner], shape_of[winner]


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


def misread(tokens: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A copy with some colour words changed to any other: what the decoder is shown while the truth is asked of it.

    A decoder that always reads "red" before a shape learns from the language which shapes come in red, and then never
    names a pair that training withheld. One that cannot rely on the colour it read must look at the shape.
    """
    wrong = rng.choice(_COLOUR_IDS, size=tokens.shape)
    changes = np.isin(tokens, _COLOUR_IDS) & (rng.random(tokens.shape) < MISREAD_SHARE)
    return np.where(changes, wrong, tokens)


def _to_batch(raw: RawBatch) -> Batch:
    """Arrays -> tensors; the questions of all scenes in one dimension: [B, Q, T] -> [B * Q, T]."""
    tensors = {name: torch.as_tensor(rows) for name, rows in raw.items() if name != "pixels"}
    for name in ("questions", "answers", "answer_inputs"):
        tensors[name] = tensors[name].flatten(0, 1)
    return Batch(pixels=normalise(np.asarray(raw["pixels"])), **tensors)
