"""BLIP-base at full size: the same tokens as transformers, on real photos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.model.bundle import open_bundle
from edge_app.model.manifest import Generation
from edge_app.model.vlm import VisionLanguageModel
from export.checkpoint import Checkpoint, load
from export.parity import processor_pixels, reference_ids

pytestmark = [pytest.mark.fullsize, pytest.mark.timeout(1800)]

Picture = NDArray[np.uint8]
PHOTOS, FULL_PHOTOS = 6, 20  # by default, with --full
GREEDY, BEAMS = Generation(), Generation(beams=3)
QUESTIONS = ("is there a dog?", "how many people are in the picture?")


@pytest.fixture
def some_photos(photos: list[Picture], pytestconfig: pytest.Config) -> list[Picture]:
    """As many photos as this form of the tests has time for."""
    return photos[: FULL_PHOTOS if pytestconfig.getoption("--full") else PHOTOS]


def in_batches(checkpoint: Checkpoint, photos: list[Picture]) -> list[tuple[list[Picture], NDArray[np.float32]]]:
    """Two batches of photos, each with its pixels [B, 3, H, W] as transformers' processor makes them.

    Pictures that transformers takes at once are several times faster than one by one, and give the same tokens.
    """
    half = len(photos) // 2
    batches = [photos[:half], photos[half:]]
    return [(batch, np.concatenate([processor_pixels(checkpoint, photo) for photo in batch])) for batch in batches]


def test_captions_are_transformers_captions(
    fullsize_bundle: Callable[[str, str], tuple[Path, Path]], some_photos: list[Picture]
) -> None:
    """BlipForConditionalGeneration, greedy and 3 beams, with and without a prompt: every token."""
    bundle, checkpoint_folder = fullsize_bundle("caption", "fp32")
    checkpoint, model = load(str(checkpoint_folder)), VisionLanguageModel(open_bundle(bundle))
    settings = [(prompt, options) for prompt in ("", "a picture of") for options in (GREEDY, BEAMS)]
    captions = set()
    for batch, pixels in in_batches(checkpoint, some_photos):
        theirs = [
            reference_ids(checkpoint, "caption", pixels, options, prompt_ids=model.codec.prompt_ids(prompt))
            for prompt, options in settings
        ]
        for index, picture in enumerate(batch):
            encoding = model.encode(picture)
            for (prompt, options), expected in zip(settings, theirs, strict=True):
                ours = list(model.caption(encoding, prompt=prompt, options=options).token_ids)
                assert ours == expected[index], f"photo {index}, prompt {prompt!r}, {options.beams} beams"
                captions.add(tuple(ours))
    assert len(captions) > len(some_photos), "the checkpoint hardly looks at the picture, so this test proves little"


def test_answers_are_transformers_answers(
    fullsize_bundle: Callable[[str, str], tuple[Path, Path]], some_photos: list[Picture]
) -> None:
    """BlipForQuestionAnswering, greedy and 3 beams: every token."""
    bundle, checkpoint_folder = fullsize_bundle("vqa", "fp32")
    checkpoint, model = load(str(checkpoint_folder)), VisionLanguageModel(open_bundle(bundle))
    answers = set()
    for (batch, pixels), question in zip(in_batches(checkpoint, some_photos), QUESTIONS, strict=True):
        question_ids = model.codec.question_ids(question)
        for options in (GREEDY, BEAMS):
            theirs = reference_ids(checkpoint, "vqa", pixels, options, question_ids=question_ids)
            for index, picture in enumerate(batch):
                ours = list(model.answer(model.encode(picture), question, options=options).token_ids)
                assert ours == theirs[index], f"photo {index}, {question!r}, {options.beams} beams"
                answers.add(tuple(ours))
    assert len(answers) > len(some_photos) // 2, (
        "the checkpoint hardly looks at the picture, so this test proves little"
    )
