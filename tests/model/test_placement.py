"""Two sides, two devices: what is tried, and that the texts stay the same.

There is one device on a test machine. `HETERO:CPU`, OpenVINO's device made of others, stands in for a second one: it
compiles the graphs anew and keeps its outputs in memory of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import edge_app.demo
from edge_app.demo.drawing import draw
from edge_app.demo.world import random_scene
from edge_app.model.bundle import open_bundle
from edge_app.model.device import is_present
from edge_app.model.loading import load_models
from edge_app.model.placement import Placement, placements
from edge_app.model.vlm import VisionLanguageModel

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
QUESTIONS = ["how many objects are there?", "is there a red circle?", "what is in the picture?"]


def scenes(count: int) -> list[NDArray[np.uint8]]:
    return [draw(random_scene(np.random.default_rng(seed), 1 + seed % 6), 160) for seed in range(count)]


def texts(model: VisionLanguageModel) -> list[tuple[int, ...]]:
    """Token ids of captions, answers together and ranked choices of some scenes."""
    said = []
    for scene in scenes(6):
        encoding = model.encode(scene)
        said.append(model.caption(encoding).token_ids)
        said += [answer.token_ids for answer in model.answers(encoding, QUESTIONS)]
        said.append(model.answer(encoding, QUESTIONS[0], choices=["one", "two", "three"]).token_ids)
    return said


@pytest.fixture(scope="module")
def on_the_cpu() -> list[tuple[int, ...]]:
    return texts(VisionLanguageModel(open_bundle(DEMO), threads=1))


@pytest.mark.parametrize(
    "sides", [("CPU", "HETERO:CPU"), ("HETERO:CPU", "CPU"), ("HETERO:CPU", "HETERO:CPU")], ids="+".join
)
def test_every_placement_gives_the_same_texts(sides: tuple[str, str], on_the_cpu: list[tuple[int, ...]]) -> None:
    """Where a side runs is a matter of speed: keys and values cross from one device to the other unchanged."""
    model = VisionLanguageModel(open_bundle(DEMO), device=sides[0], text_device=sides[1], threads=1)
    assert {role: graph.device for role, graph in model.graphs.items()} == {
        "vision": sides[0],
        "caption_memory": sides[0],
        "question_memory": sides[0],
        "question_encoder": sides[1],
        "decoder": sides[1],
    }
    assert texts(model) == on_the_cpu


@pytest.mark.parametrize(
    ("device", "text_device", "available", "expected"),
    [
        ("AUTO", None, ["CPU"], ["CPU"]),
        ("AUTO", None, ["CPU", "GPU"], ["GPU", "CPU"]),
        ("AUTO", "CPU", ["CPU", "GPU.0", "GPU.1"], ["GPU+CPU", "CPU"]),
        ("CPU", "GPU", ["CPU", "GPU"], ["CPU+GPU", "CPU"]),
        ("CPU", "GPU", ["CPU"], ["CPU"]),
        ("GPU", "GPU", ["CPU", "GPU"], ["GPU", "GPU+CPU", "CPU+GPU", "CPU"]),
        ("GPU", None, ["CPU"], ["CPU"]),
        ("HETERO:GPU,CPU", None, ["CPU", "GPU"], ["HETERO:GPU,CPU", "CPU"]),
        ("HETERO:GPU,CPU", None, ["CPU"], ["CPU"]),
    ],
)
def test_what_is_tried_ends_with_everything_on_the_cpu(
    device: str, text_device: str | None, available: list[str], expected: list[str]
) -> None:
    """What was asked for first, each side falls back by itself, and nothing is tried that is not there."""
    assert [str(placement) for placement in placements(device, text_device, available)] == expected


def test_a_device_made_of_others_is_there_if_they_are() -> None:
    """A GPU without a number is any of them; half a name is none."""
    assert is_present("GPU", ["CPU", "GPU.1"]) and is_present("HETERO:GPU.1,CPU", ["CPU", "GPU.1"])
    assert not is_present("GP", ["CPU", "GPU"]) and not is_present("HETERO:GPU,CPU", ["CPU"])


def test_a_side_that_cannot_be_compiled_falls_back_and_is_told() -> None:
    """BATCH:CPU is there and refuses our settings: the text side goes to the CPU, the picture side stays."""
    loaded = load_models([DEMO], device="HETERO:CPU", text_device="BATCH:CPU", threads=1)
    assert loaded.models[0].placement == Placement("HETERO:CPU", "CPU")
    (refusal,) = loaded.fallbacks
    assert "for BATCH:CPU" in refusal
    info = loaded.info()
    assert (info["device"], info["bundles"][0]["device"]) == ("HETERO:CPU+CPU", "HETERO:CPU+CPU")
    assert (info["stages"]["vision"], info["stages"]["decoder"]) == ("HETERO:CPU", "CPU")


def test_a_side_asked_for_that_is_not_there_is_told() -> None:
    """As for the device of all stages: a sentence, and the CPU."""
    loaded = load_models([DEMO], device="CPU", text_device="GPU.7", threads=1)
    assert str(loaded.models[0].placement) == "CPU"
    assert "GPU.7 was asked for, but OpenVINO finds only" in loaded.fallbacks[0]
