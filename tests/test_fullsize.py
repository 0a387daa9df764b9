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
from export.checkpoint import load
from export.parity import processor_pixels, reference_ids

pytestmark = [pytest.mark.fullsize, pytest.mark.timeout(1800)]

Picture = NDArray[np.uint8]
PHOTOS = 20
GREEDY, BEAMS = Generation(), Generation(beams=3)


def test_captions_are_transformers_captions(
    fullsize_bundle: Callable[[str, str], tuple[Path, Path]], photos: list[Picture]
) -> None:
    """BlipForConditionalGeneration, greedy and 3 beams, with and without a prompt: 20 photos each, every token."""
    bundle, checkpoint_folder = fullsize_bundle("caption", "fp32")
    checkpoint, model = load(str(checkpoint_folder)), VisionLanguageModel(open_bundle(bundle))
    captions = set()
    for index, picture in enumerate(photos[:PHOTOS]):
        pixels, encoding = processor_pixels(checkpoint, picture), model.encode(picture)
        for prompt in ("", "a picture of"):
            prompt_ids = model.codec.prompt_ids(prompt)
            for options in (GREEDY, BEAMS):
                ours = list(model.caption(encoding, prompt=prompt, options=options).token_ids)
                theirs = reference_ids(checkpoint, "caption", pixels, options, prompt_ids=prompt_ids)
                assert ours == theirs, f"photo {index}, prompt {prompt!r}, {options.beams} beams"
                captions.add(tuple(ours))
    assert len(captions) > PHOTOS, "the checkpoint hardly looks at the picture, so this test proves little"


def test_answers_are_transformers_answers(
    fullsize_bundle: Callable[[str, str], tuple[Path, Path]], photos: list[Picture]
) -> None:
    """BlipForQuestionAnswering, greedy and 3 beams: 20 photos each, every token."""
    bundle, checkpoint_folder = fullsize_bundle("vqa", "fp32")
    checkpoint, model = load(str(checkpoint_folder)), VisionLanguageModel(open_bundle(bundle))
    questions = ("is there a dog?", "what colour is the car?", "how many people are in the picture?")
    answers = set()
    for index, picture in enumerate(photos[:PHOTOS]):
        pixels, encoding = processor_pixels(checkpoint, picture), model.encode(picture)
        question = questions[index % len(questions)]
        for options in (GREEDY, BEAMS):
            ours = list(model.answer(encoding, question, options=options).token_ids)
            theirs = reference_ids(checkpoint, "vqa", pixels, options, question_ids=model.codec.question_ids(question))
            assert ours == theirs, f"photo {index}, {question!r}, {options.beams} beams"
            answers.add(tuple(ours))
    assert len(answers) > PHOTOS // 2, "the checkpoint hardly looks at the picture, so this test proves little"
