"""The bundle that is shipped sees: it names what is in scenes it was never shown, far better than chance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import edge_app.demo
from edge_app.demo import language, questions, world
from edge_app.demo.drawing import draw
from edge_app.model.loading import load_models
from edge_app.model.vlm import VisionLanguageModel
from export.demo.evaluate import evaluate
from export.demo.seeds import FIRST_EVALUATION_SEED
from export.demo.sight import bundle_eyes
from tests.demo.scenes import PLAIN, scene

BUNDLE = Path(edge_app.demo.__file__).parent / "bundle"
SCENES = 60
SEED = FIRST_EVALUATION_SEED + 11_000
MAX_BYTES = 8_000_000


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    """Loading it verifies the hashes and the golden sample."""
    return load_models([BUNDLE], device="CPU").serving("vqa")


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """Of 60 scenes, and 15 more for each thing that training withheld; the figures of 2,000 are in the docs."""
    return evaluate(bundle_eyes(BUNDLE), scenes=SCENES, seed=SEED)


def test_it_names_colour_and_shape_of_scenes_it_never_saw(figures: dict[str, Any]) -> None:
    """A guess names one pair of colour and shape in 48 right; the model 97 % of those there and of those it names."""
    assert figures["object_precision"] > 0.97, figures  # measured: 1.0 of 210 objects
    assert figures["object_recall"] > 0.97, figures


def test_it_names_pairs_that_training_withheld(figures: dict[str, Any]) -> None:
    """It has learnt colours and shapes, not a list of pairs, and can count what it has only seen alone."""
    assert figures["unseen_recall"] > 0.85, figures  # measured: 14 of 15
    assert figures["unseen_twins_recall"] > 0.9, figures  # measured: 30 of 30


def test_it_answers(figures: dict[str, Any]) -> None:
    """97 % of the answers are right word for word, 90 % of those to each kind of question.

    Chance is a half at best, where only yes and no can be said. A model is right about as often as it is sure.
    """
    assert figures["answer_accuracy"] > 0.97, figures  # measured: 1.0
    assert set(figures["by_question"]) == set(questions.KINDS)
    assert min(figures["by_question"].values()) > 0.9, figures  # measured: 1.0
    assert figures["ece"] < 0.03, figures  # measured: 0.0004


def test_it_speaks_the_language_of_the_demo() -> None:
    """Every word of the demo's world is known to the bundle's tokenizer: a question with another is not understood."""
    tokenizer = Tokenizer.from_file(str(BUNDLE / "tokenizer.json"))
    unknown = tokenizer.token_to_id("[UNK]")
    assert [word for word in questions.vocabulary() if unknown in tokenizer.encode(word).ids] == []


def test_an_empty_picture_gets_another_caption_than_a_full_one(model: VisionLanguageModel) -> None:
    """The caption depends on the picture: bare ground is nothing, a drawn scene is something."""
    pairs = [("red", "circle"), ("blue", "square"), ("green", "star")]
    shown = replace(world.scene_of(np.random.default_rng(1), pairs), look=PLAIN)
    empty, full = (
        language.named_objects(model.caption(model.encode(draw(each, 240))).text) for each in (scene(), shown)
    )
    assert empty == []
    assert language.count_right(full, pairs) >= 2, full


def test_it_is_small_and_serves_both_tasks(model: VisionLanguageModel) -> None:
    """A few megabytes, INT8, captions and answers."""
    assert set(model.manifest.tasks) == {"caption", "vqa"}
    assert model.manifest.precision == "int8"
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < MAX_BYTES
