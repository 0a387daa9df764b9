"""A keeper of rules, for tests: its broker is away, and what it publishes is noted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_app.inbox import Inbox
from edge_app.messages import MessageIds, Result
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics
from edge_app.publisher import Publisher
from edge_app.rules.keeper import RuleKeeper
from edge_app.rules.rule import RuleConfig
from edge_app.settings import MqttConfig, StoreConfig
from edge_app.store.store import Store

YES = Result(type="answer", ts="", status="ok", p_yes=0.9, yes_no_mass=1.0)


def rule(id: str, **values: Any) -> RuleConfig:
    return RuleConfig(id=id, question=f"is there a {id}?", consecutive=1, **values)


class Wire(Session):
    """A session whose broker is away, and what it was given to publish retained, in order."""

    def __init__(self) -> None:
        topics = Topics("edge_app", "kitchen")
        connection = Connection(MqttConfig(), "kitchen", topics.availability, lambda _: None, Inbox().offer)
        self.store = Store(None, StoreConfig())
        super().__init__(connection, topics, self.store.outbox)
        self.published: list[tuple[str, bytes]] = []

    def set_state(self, topic: str, payload: bytes) -> None:
        self.published.append((topic.removeprefix("edge_app/kitchen/rule/"), payload))
        super().set_state(topic, payload)


def keeper(
    folder: Path | None,
    *rules: RuleConfig,
    allow_snapshots: bool = False,
    cameras: Sequence[str] = ("door", "yard"),
    online: bool = True,
    wire: Wire | None = None,
) -> RuleKeeper:
    """A keeper that has been told of its cameras, if they are online."""
    session = wire or Wire()
    publisher = Publisher(session, Topics("edge_app", "kitchen"), session.store.questions, MessageIds())
    made = RuleKeeper(rules, cameras, publisher, folder, allow_snapshots=allow_snapshots)
    for camera in cameras if online else ():
        made.camera_online(camera)
    return made
