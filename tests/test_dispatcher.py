"""When the model gets its next request; what each question gets in return is told by tests/service."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edge_app.dispatcher import FRAME_POLL_S, Dispatcher
from edge_app.frames import FrameBuffer
from edge_app.gate import Gate
from edge_app.inbox import Inbox
from edge_app.messages import MessageIds, Question, Region
from edge_app.model_client import ModelReady, ModelReply
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics
from edge_app.publisher import Publisher
from edge_app.rules.keeper import RuleKeeper
from edge_app.scheduler import Scheduler
from edge_app.settings import GateConfig, MqttConfig, StoreConfig
from edge_app.store.store import Store


class Cameras:
    """Frame buffers without the processes that fill them."""

    def __init__(self) -> None:
        self.buffers = {name: FrameBuffer.create(name) for name in ("door", "yard")}
        self.regions: dict[str, Region] = {}

    def show(self, name: str, change: int = 0) -> None:
        now_s = time.monotonic()
        self.buffers[name].write(np.zeros((4, 4, 3), np.uint8), ts=time.time(), captured_s=now_s, change=change)

    def names(self) -> tuple[str, ...]:
        return tuple(self.buffers)

    def frame_id(self, name: str) -> int | None:
        info = self.buffers[name].latest_info()
        return info.frame_id if info else None

    def is_starting(self, name: str) -> bool:
        return self.frame_id(name) is None

    def region(self, name: str) -> Region | None:
        return self.regions.get(name)

    def change(self, name: str) -> int:
        info = self.buffers[name].latest_info()
        return info.change if info else 0

    def problem(self, name: str) -> str:
        return f"no frame of {name} yet"


class Desk:
    """A dispatcher that captions without an interval, and what it does, in order; its broker is away."""

    def __init__(self, interval_s: float = 0, gate: GateConfig | None = None) -> None:
        self.cameras = Cameras()
        self.done: list[str] = []
        self.numbers: list[int] = []
        self.regions: list[Region | None] = []  # of each request
        topics = Topics("edge_app", "kitchen")
        connection = Connection(MqttConfig(), "kitchen", topics.availability, lambda _: None, Inbox().offer)
        self.store = store = Store(None, StoreConfig())
        publisher = Publisher(Session(connection, topics, store.outbox), topics, store.questions, MessageIds())
        self.topics, self.publisher = topics, publisher
        self.rules = rules = RuleKeeper((), self.cameras.names(), publisher, None)
        self.scheduler = Scheduler(self.cameras.names(), interval_s, 4, rules.timetable)
        self.dispatcher = Dispatcher(
            self.scheduler,
            self.cameras,
            publisher,
            submit=self._submit,
            observe=lambda result: self.done.append(f"told {result.type} {result.camera} {result.frame_id}"),
            command_timeout_s=10,
            rules=rules,
            gate=Gate(gate or GateConfig()),
        )

    def _submit(self, number: int, request: dict[str, Any]) -> None:
        self.numbers.append(number)
        self.regions.append(request.get("region"))
        self.done.append(f"begun {request['op']} {request['camera']}")

    def reply(self, camera: str, answers: int = 1) -> None:
        """The model's result for the request in flight, about the newest frame."""
        info = self.cameras.buffers[camera].latest_info()
        assert info is not None
        result = {
            "text": "a door",
            "confidence": 0.5,
            "p_yes": None,
            "yes_no_mass": None,
            "frame_id": info.frame_id,
            "frame_ts": info.ts,
            "captured_s": info.captured_s,
            "change": info.change,
            "model": "stand-in",
            "device": "CPU",
            "tokens": 2,
            "timing_ms": {"total": 6.0},
        }
        self.dispatcher.handle(ModelReply(self.numbers[-1], {"ok": True, "results": [result] * answers}))


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Without an interval, or with that of an indirect parameter."""
    desk = Desk(getattr(request, "param", 0))
    yield desk
    for buffer in desk.cameras.buffers.values():
        buffer.close()


def question(id: str, region: Region | None = None) -> Question:
    return Question(id, "what is it", "door", None, region, 10, None, None, msg_id=id, fingerprint=id, delivery=id)


def test_the_next_inference_begins_before_the_last_one_is_published(desk: Desk) -> None:
    """The model does not wait while a result is put into words and sent."""
    desk.cameras.show("door")
    desk.cameras.show("yard")
    desk.dispatcher.handle(ModelReady({}))
    desk.reply("door")
    assert desk.done == ["begun caption door", "begun caption yard", "told caption door 1"]


def test_questions_that_wait_are_next_when_a_reply_comes(desk: Desk) -> None:
    """A question waits for the inference in flight and no other; its answer is told while the next one runs."""
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    desk.dispatcher.ask(question("1"))
    desk.cameras.show("door")
    desk.reply("door")
    desk.reply("door")
    assert desk.done == ["begun caption door", "begun ask door", "told caption door 2", "told answer door 2"]


def test_a_frame_is_captioned_once_and_the_next_as_soon_as_it_is_there(desk: Desk) -> None:
    """With a free model the next look is FRAME_POLL_S away; a turn with a new frame begins its caption."""
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    desk.reply("door")
    assert desk.done == ["begun caption door", "told caption door 1"]
    assert desk.dispatcher.next_event_s() <= time.monotonic() + FRAME_POLL_S
    desk.cameras.show("door")
    desk.dispatcher.work()
    assert desk.done[-1] == "begun caption door"


def test_nobody_polls_for_frames_while_nothing_can_begin(desk: Desk) -> None:
    """The model's start and its reply are events; a camera that is offline is looked after by others."""
    assert desk.dispatcher.next_event_s() == math.inf  # the model has not started, no camera has a frame
    desk.cameras.show("door")
    assert desk.dispatcher.next_event_s() == math.inf
    desk.dispatcher.handle(ModelReady({}))
    assert desk.dispatcher.next_event_s() == math.inf  # an inference runs


def test_no_camera_with_a_frame_means_no_polling(desk: Desk) -> None:
    """A ready model without a frame anywhere waits for the cameras."""
    desk.dispatcher.handle(ModelReady({}))
    assert desk.dispatcher.next_event_s() == math.inf


@pytest.mark.parametrize("desk", [50], indirect=True)
def test_a_caption_that_is_not_due_yet_is_waited_for_exactly(desk: Desk) -> None:
    """The next look is when it is due, neither sooner nor later."""
    desk.cameras.show("door")
    began_s = time.monotonic()
    desk.dispatcher.handle(ModelReady({}))
    desk.reply("door")
    assert began_s + 50 <= desk.dispatcher.next_event_s() <= time.monotonic() + 50


def test_a_frame_whose_caption_is_refused_is_not_asked_for_again(desk: Desk) -> None:
    """Without an interval the same request would go out as fast as it is refused; the next frame gets its chance."""
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    refusal = {"ok": False, "code": "bad_request", "message": "The prompt is too long."}
    desk.dispatcher.handle(ModelReply(desk.numbers[-1], refusal))
    desk.dispatcher.work()
    assert desk.done == ["begun caption door"]
    desk.cameras.show("door")
    desk.dispatcher.work()
    assert desk.done == ["begun caption door"] * 2


def test_captions_and_questions_look_at_the_cameras_region(desk: Desk) -> None:
    """A camera's region is for captions and for questions that bring none; a question's own wins."""
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    desk.cameras.regions["door"] = left
    for name in ("door", "yard"):
        desk.cameras.show(name)
    desk.dispatcher.handle(ModelReady({}))
    desk.reply("door")
    desk.dispatcher.ask(question("1"))
    desk.reply("yard")
    desk.dispatcher.ask(question("2", region=right))
    desk.reply("door")
    assert desk.done[::2][:2] == ["begun caption door", "told caption door 1"]
    assert desk.regions == [left, None, left, right]
