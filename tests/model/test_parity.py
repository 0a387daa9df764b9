"""The runtime's loop gives transformers' tokens: the promise everything else stands on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.model.bundle import open_bundle
from edge_app.model.image import to_pixels
from edge_app.model.manifest import Generation
from edge_app.model.vlm import VisionLanguageModel
from export.checkpoint import Checkpoint, load
from export.parity import pixel_error, processor_pixels, reference_ids

Picture = NDArray[np.uint8]

QUESTIONS = ("is there a dog?", "what colour is the car", "how many people are in the picture?")

# Decoding options beyond the defaults, each with greedy and beams where it applies.
OPTIONS = {
    "greedy": Generation(),
    "3 beams": Generation(beams=3),
    "penalty": Generation(repetition_penalty=1.3),
    "minimum length": Generation(min_new_tokens=8),
    "5 beams, penalty, minimum length": Generation(beams=5, repetition_penalty=1.1, min_new_tokens=5),
    "3 beams, short wins": Generation(beams=3, length_penalty=-1.0),
    "3 beams, long wins": Generation(beams=3, length_penalty=2.0),
    "3 beams, stop early": Generation(beams=3, early_stopping=True),
    "3 beams, never early": Generation(beams=3, early_stopping="never", max_new_tokens=12),
    "one token": Generation(max_new_tokens=1),
    "4 beams, two tokens": Generation(beams=4, max_new_tokens=2),
}


@pytest.fixture(scope="module", params=["caption", "vqa"])
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checkpoint(task: str, small_checkpoint: Callable[[str], Path]) -> Checkpoint:
    return load(str(small_checkpoint(task)))


@pytest.fixture(scope="module")
def model(task: str, small_bundle: Callable[..., Path]) -> VisionLanguageModel:
    return VisionLanguageModel(open_bundle(small_bundle(task)))


def both(
    model: VisionLanguageModel, checkpoint: Checkpoint, picture: Picture, text: str, options: Generation
) -> tuple[list[int], list[int]]:
    """(our token ids, transformers') for one picture; `text` is the prompt or the question."""
    pixels = processor_pixels(checkpoint, picture)
    encoding = model.encode(picture)
    if model.manifest.tasks[0] == "caption":
        ours = model.caption(encoding, prompt=text, options=options)
        (theirs,) = reference_ids(checkpoint, "caption", pixels, options, prompt_ids=model.codec.prompt_ids(text))
    else:
        ours = model.answer(encoding, text, options=options)
        (theirs,) = reference_ids(checkpoint, "vqa", pixels, options, question_ids=model.codec.question_ids(text))
    return list(ours.token_ids), theirs


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_fp32_bundle_gives_the_tokens_of_transformers(
    model: VisionLanguageModel, checkpoint: Checkpoint, photos: list[Picture], options: Generation
) -> None:
    """Every option of decoding gives exactly transformers' token ids, with and without a prompt.

    Greedy and 3 beams on 20 photos, the other options, which differ only in scoring, on 6.
    """
    some = photos[:20] if options in (OPTIONS["greedy"], OPTIONS["3 beams"]) else photos[:6]
    texts = ("", "a picture of") if model.manifest.tasks[0] == "caption" else QUESTIONS
    seen = set()
    for index, picture in enumerate(some):
        ours, theirs = both(model, checkpoint, picture, texts[index % len(texts)], options)
        assert ours == theirs, f"photo {index}"
        seen.add(tuple(ours))
    if options.max_new_tokens > 2:
        assert len(seen) > len(some) // 2, "the checkpoint hardly looks at the picture, so this test proves little"


def test_sequences_of_the_fixture_end_and_do_not(
    model: VisionLanguageModel, checkpoint: Checkpoint, photos: list[Picture]
) -> None:
    """Parity covers both ways a text can stop: the end token, and the length limit."""
    end = model.manifest.tokens.end
    text = "" if model.manifest.tasks[0] == "caption" else QUESTIONS[0]
    options = Generation(max_new_tokens=8)
    ended = {both(model, checkpoint, picture, text, options)[0][-1] == end for picture in photos[:20]}
    assert ended == {True, False}


def test_pixels_are_those_of_the_processor(
    model: VisionLanguageModel, checkpoint: Checkpoint, photos: list[Picture]
) -> None:
    """Mean error at most 0.04 of 255 (measured: 0.0000) on photos and on shapes no camera makes."""
    rng = np.random.default_rng(0)
    odd = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((1, 1), (1, 500), (333, 7), (96, 96), (1080, 1920))]
    for picture in [*photos, *odd]:
        error = pixel_error(to_pixels(picture, model.manifest.image), processor_pixels(checkpoint, picture), checkpoint)
        assert error <= 0.04
