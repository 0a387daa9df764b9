"""The bundle that is shipped sees: it names what is in scenes it was never shown, far better than chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import edge_app.demo
from edge_app.demo import world
from edge_app.model.loading import load_models
from edge_app.model.vlm import VisionLanguageModel
from export.demo.evaluate import evaluate

Picture = NDArray[np.uint8]
BUNDLE = Path(edge_app.demo.__file__).parent / "bundle"
SCENES = 60
SEED = 31_000  # training never drew from it
MAX_BYTES = 8_000_000
# A guess names one pair of colour and shape in 48 right. The figures of the shipped bundle are in the README.
CHANCE = 1 / (len(world.COLOURS) * len(world.SHAPES))


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    """Loading it verifies the hashes and the golden sample."""
    return load_models([BUNDLE], device="CPU").serving("vqa")


def test_it_names_colour_and_shape_of_scenes_it_never_saw(model: VisionLanguageModel) -> None:
    """Objects named right, never-seen pairs included, and answers: all well above what guessing reaches."""

    def caption(image: Picture) -> tuple[str, float]:
        text = model.caption(model.encode(image))
        return text.text, text.confidence

    def answer(image: Picture, question: str) -> tuple[str, float]:
        text = model.answer(model.encode(image), question)
        return text.text, text.confidence

    figures = evaluate(caption, answer, scenes=SCENES, seed=SEED)
    assert CHANCE < 0.03
    assert figures["object_precision"] > 0.5, figures
    assert figures["object_recall"] > 0.5, figures
    assert figures["answer_accuracy"] > 0.6, figures


def test_an_empty_picture_gets_another_caption_than_a_full_one(model: VisionLanguageModel) -> None:
    """The caption depends on the picture: black gives another text than a drawn scene."""
    scene = world.random_scene(np.random.default_rng(1), 3)
    drawn = model.caption(model.encode(world.draw(scene, 240)))
    black = model.caption(model.encode(np.zeros((240, 240, 3), np.uint8)))
    assert drawn.token_ids != black.token_ids


def test_it_is_small_and_serves_both_tasks(model: VisionLanguageModel) -> None:
    """A few megabytes, INT8, captions and answers."""
    assert set(model.manifest.tasks) == {"caption", "vqa"}
    assert model.manifest.precision == "int8"
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < MAX_BYTES
