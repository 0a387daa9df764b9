"""A dispatcher at its desk, for tests: cameras without processes, a model that replies when told to, no broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from edge_app.dispatcher import Dispatcher
from edge_app.frames import FrameBuffer, FrameInfo
from edge_app.gate import Gate
from edge_app.inbox import Inbox
from edge_app.messages import MessageIds, Region
from edge_app.model_client import ModelReply
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics
from edge_app.publisher import Publisher
from edge_app.rules.keeper import RuleKeeper
from edge_app.rules.rule import RuleConfig
from edge_app.scheduler import Scheduler
from edge_app.settings import GateConfig, MqttConfig, StoreConfig
from edge_app.store.store import Store


class Cameras:
    """Frame buffers without the processes that fill them."""

    def __init__(self) -> None:
        self.buffers = {name: FrameBuffer.create(name) for name in ("door", "yard")}
        self.regions: dict[str, Region] = {}
        self.offline: set[str] = set()

    def show(self, name: str, change: int = 0) -> None:
        now_s = time.monotonic()
        self.buffers[name].write(np.zeros((4, 4, 3), np.uint8), ts=time.time(), captured_s=now_s, change=change)

    def names(self) -> tuple[str, ...]:
        return tuple(self.buffers)

    def frame_id(self, name: str) -> int | None:
        info = None if name in self.offline else self.buffers[name].latest_info()
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
        self.replied = 0  # how many requests `run` has replied to
        self.requests: list[dict[str, Any]] = []
        topics = Topics("edge_app", "kitchen")
        connection = Connection(MqttConfig(), "kitchen", topics.availability, lambda _: None, Inbox().offer)
        self.store = store = Store(None, StoreConfig())
        publisher = Publisher(Session(connection, topics, store.outbox), topics, store.questions, MessageIds())
        self.topics, self.publisher = topics, publisher
        self.rules = rules = RuleKeeper((), self.cameras.names(), publisher, None, allow_snapshots=True)
        for camera in self.cameras.names():
            rules.camera_online(camera)
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
        self.requests.append(request)
        self.done.append(f"begun {request['op']} {request['camera']}")

    def add_rules(self, *ids: str, **values: Any) -> None:
        for id in ids:
            self.rules.add(RuleConfig(id=id, question=id, consecutive=1, **values))

    @staticmethod
    def result(info: FrameInfo) -> dict[str, Any]:
        """What the model's process sends about a frame."""
        return {
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

    def reply(self, camera: str, p_yes: Callable[[str], float] = lambda _: 0.0) -> None:
        """The model's results for the request in flight, about the newest frame; `p_yes` of a rule's question."""
        info = self.cameras.buffers[camera].latest_info()
        assert info is not None
        request = self.requests[-1]
        result = self.result(info)
        results = [
            {**result, "p_yes": p_yes(asked), "yes_no_mass": 1.0} if request["op"] == "rules" else result
            for asked in request.get("questions", ["caption"])
        ]
        self.dispatcher.handle(ModelReply(self.numbers[-1], {"ok": True, "results": results}))

    def refuse(self) -> None:
        refusal = {"ok": False, "code": "bad_request", "message": "The question is too long."}
        self.dispatcher.handle(ModelReply(self.numbers[-1], refusal))
