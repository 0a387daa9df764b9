"""Encoding ahead changes when a frame is encoded, never what is said of it.

`HETERO:CPU` stands in for a second device. The limit of the age is the only thing that depends on the clock; the tests
set it so that it always or never strikes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edge_app.demo
from edge_app.demo.drawing import draw
from edge_app.demo.world import random_scene
from edge_app.frames import FrameBuffer
from edge_app.model import lookahead
from edge_app.model.chores import Chores
from edge_app.model.loading import LoadedModels, load_models
from edge_app.model.lookahead import Lookahead
from edge_app.model.worker import Worker

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
QUESTION = "how many objects are there?"
ALWAYS_S, NEVER_S = -1.0, 3600.0  # IDLE_LIMIT_S under which any, or no, frame has lain for too long
FRAMES = 12

Picture = NDArray[np.uint8]


class Setup:
    """A worker in this process, and the frames of its cameras `door` and `gate`."""

    def __init__(self, models: LoadedModels) -> None:
        self.frames = {name: FrameBuffer.create(name) for name in ("door", "gate")}
        self.worker = Worker(models, self.frames, Chores(models))

    def show(self, camera: str, seed: int) -> int:
        return self.frames[camera].write(scene(seed), ts=time.time(), captured_s=time.monotonic())

    def ask(self, **request: Any) -> dict[str, Any]:
        reply = self.worker.handle(request)
        assert reply["ok"], reply
        (result,) = reply["results"]
        return dict(result)

    def close(self) -> None:
        for buffer in self.frames.values():
            buffer.close()


def scene(seed: int) -> Picture:
    return draw(random_scene(np.random.default_rng(seed), 1 + seed % 6), 160)


@pytest.fixture(scope="module")
def split() -> LoadedModels:
    return load_models([DEMO], device="CPU", text_device="HETERO:CPU", threads=1)


@pytest.fixture(scope="module")
def plain() -> LoadedModels:
    return load_models([DEMO], device="CPU", threads=1)


@pytest.fixture
def setup(split: LoadedModels, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    monkeypatch.setattr(lookahead, "IDLE_LIMIT_S", NEVER_S)
    made = Setup(split)
    yield made
    made.close()


def test_captions_made_ahead_are_those_made_in_turn(setup: Setup, plain: LoadedModels) -> None:
    """Two cameras in turn, each begun while the other is decoded, against the same frames one by one.

    A newer frame of each camera is there when its turn comes: the caption is of the one that was begun, so it was.
    """
    model = plain.serving("caption")
    turns = ["door", "gate"] * (FRAMES // 2)
    awaited = setup.show("door", 0)
    for turn, (camera, following) in enumerate(pairwise([*turns, "door"])):
        begun = setup.show(following, turn + 1)
        caption = setup.ask(op="caption", camera=camera, next=following)
        assert caption["frame_id"] == awaited
        assert caption["token_ids"] == list(model.caption(model.encode(scene(turn))).token_ids)
        setup.show(following, 100 + turn)
        awaited = begun


def test_a_question_between_is_answered_about_the_newest_frame(setup: Setup, plain: LoadedModels) -> None:
    """And the frame that was begun before it is whole when its caption is asked for after it."""
    setup.show("door", 1)
    begun = setup.show("gate", 2)
    setup.ask(op="caption", camera="door", next="gate")
    newest = setup.show("gate", 3)
    answer = setup.ask(op="ask", camera="gate", questions=[QUESTION])
    caption = setup.ask(op="caption", camera="gate", next=None)
    assert (answer["frame_id"], caption["frame_id"]) == (newest, begun)
    model = plain.serving("vqa")
    assert answer["token_ids"] == list(model.answer(model.encode(scene(3)), QUESTION).token_ids)
    assert caption["token_ids"] == list(model.caption(model.encode(scene(2))).token_ids)


def test_a_frame_that_has_lain_for_too_long_is_not_used(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its camera's newest is taken, as without looking ahead."""
    begin, begun = Lookahead.begin, []
    monkeypatch.setattr(Lookahead, "begin", lambda *args, **more: begun.append(begin(*args, **more)))
    setup.show("door", 1)
    setup.show("gate", 2)
    setup.ask(op="caption", camera="door", next="gate")
    assert begun == [True]
    newest = setup.show("gate", 3)
    monkeypatch.setattr(lookahead, "IDLE_LIMIT_S", ALWAYS_S)
    assert setup.ask(op="caption", camera="gate", next=None)["frame_id"] == newest


def test_a_frame_is_not_captioned_twice(setup: Setup) -> None:
    """With no newer frame there is nothing to begin; the next caption is of what comes then."""
    setup.show("door", 1)
    setup.ask(op="caption", camera="door", next="door")
    newest = setup.show("door", 2)
    assert setup.ask(op="caption", camera="door", next="door")["frame_id"] == newest


def test_a_wrong_forecast_harms_nothing(setup: Setup, plain: LoadedModels) -> None:
    """`gate` was begun and `door` comes again: its newest frame; a camera that is not there is no forecast."""
    setup.show("door", 1)
    setup.show("gate", 2)
    setup.ask(op="caption", camera="door", next="gate")
    newest = setup.show("door", 3)
    caption = setup.ask(op="caption", camera="door", next="nowhere")
    assert caption["frame_id"] == newest
    model = plain.serving("caption")
    assert caption["token_ids"] == list(model.caption(model.encode(scene(3))).token_ids)


@pytest.mark.parametrize(("decode_ms", "begins"), [(140.0, True), (160.0, False)])
def test_what_would_lie_for_too_long_is_not_begun(split: LoadedModels, decode_ms: float, begins: bool) -> None:
    """Encoding takes 10 + 90 ms: a frame that is begun with a decoding of 160 ms lies for 60, and 50 are allowed."""
    model = split.serving("caption")
    ahead = Lookahead(model)
    ahead.decoded({"image": 10.0, "vision": 90.0, "decode": decode_ms})
    buffer = FrameBuffer.create("door")
    buffer.write(scene(1), ts=time.time(), captured_s=time.monotonic())
    frame = buffer.latest()
    buffer.close()
    assert frame is not None
    current = model.encode(scene(2))
    assert ahead.begin("door", frame, meanwhile=current) is begins
    # Its keys and values were computed first: they do not wait for the frame on the picture's device.
    assert ("caption_memory" in current.memories) is begins


def test_on_one_device_nothing_is_begun(plain: LoadedModels) -> None:
    """There both sides would take turns: a forecast changes nothing, the newest frame is captioned."""
    setup = Setup(plain)
    try:
        setup.show("door", 1)
        setup.show("gate", 2)
        setup.ask(op="caption", camera="door", next="gate")
        newest = setup.show("gate", 3)
        assert setup.ask(op="caption", camera="gate", next=None)["frame_id"] == newest
    finally:
        setup.close()
