"""A node's session at a real broker, with a main thread of the test's own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_app.inbox import Inbox
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.requests import Inbound
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics
from edge_app.settings import MqttConfig, StoreConfig
from edge_app.store.outbox import Account, Message
from edge_app.store.store import Store
from tests.broker import PATIENCE_S, Broker

TOPICS = Topics("edge_app", "kitchen")
PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


class Node:
    """A session with a main thread of the test's own: `turn` handles what has come."""

    def __init__(self, port: int, **config: Any) -> None:
        self.config = MqttConfig.model_validate({"host": "127.0.0.1", "port": port, **config})
        self.inbox = Inbox()
        self.store = Store(None, StoreConfig())
        self.outbox = self.store.outbox
        self.promises: list[tuple[str, float]] = []
        self.connection = Connection(
            self.config,
            "edge-app-kitchen",
            TOPICS.availability,
            self.inbox.post,
            self.inbox.offer,
            promise=lambda thread, by_s: self.promises.append((thread, by_s)),
        )
        self.session = Session(self.connection, TOPICS, self.outbox)
        self.received: list[Inbound] = []
        self.acknowledges = True
        self._numbers = itertools.count(1)
        self.session.start()

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Handle events until `condition` holds."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}"
            self.turn(0.02)

    def send(self, topic: str, payload: bytes, correlation: bytes | None = None) -> None:
        """Put a message into the outbox, and on the wire if it may."""
        self.session.send(Message("answer", f"m{next(self._numbers)}", topic, payload, correlation))
        self.session.flush()

    @property
    def account(self) -> Account:
        """What has become of what was sent."""
        return self.outbox.account("answer")

    def turn(self, wait_s: float) -> None:
        """Handle one event if it comes in time."""
        event = self.inbox.take(wait_s)
        if isinstance(event, Inbound):
            self.received.append(event)
            if event.receipt and self.acknowledges:
                self.session.acknowledge(event.receipt)
        elif event is not None:
            self.session.handle(event)  # type: ignore[arg-type]
        self.session.check(time.monotonic())
        self.session.flush()

    def until_settled(self) -> None:
        """Handle events until the node is connected and the broker has acknowledged everything."""
        self.until(lambda: self.session.connected and self.session.settled, "everything to be acknowledged")


@pytest.fixture
def make_node() -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(port: int, **config: Any) -> Node:
        nodes.append(Node(port, **config))
        return nodes[-1]

    yield make
    for node in nodes:
        node.session.stop(5)


MakeNode = Callable[..., Node]
MakeBroker = Callable[..., Broker]
