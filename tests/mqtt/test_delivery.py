"""What is sent arrives once and in order, or is counted as dropped, whatever the broker does meanwhile."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any, cast

import pytest

from edge_app.mqtt import session as session_module
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.events import Acknowledged, Connected, Refusal
from edge_app.mqtt.session import Session
from edge_app.settings import StoreConfig
from edge_app.store.outbox import Account, Message
from edge_app.store.store import Store
from tests.broker import Broker, Watcher, broker, make_broker, needs_mosquitto
from tests.mqtt.node import TOPICS, MakeBroker, MakeNode, make_node

__all__ = ["broker", "make_broker", "make_node"]
pytestmark = needs_mosquitto


def test_answers_wait_for_a_broker_that_is_away_and_arrive_in_order(broker: Broker, make_node: MakeNode) -> None:
    """Messages made before, during and after an outage all arrive, in order; state arrives once, newest only."""
    node = make_node(broker.port)
    node.until_settled()
    broker.stop()
    node.until(lambda: not node.session.connected, "the loss to be seen")
    for number in range(30):
        node.send(TOPICS.answer, b"%d" % number)
        node.session.set_state(TOPICS.caption("door"), b"caption %d" % number)
    assert node.outbox.pending == 30
    broker.start()
    watcher = Watcher(broker.port, f"{TOPICS.root}/#")
    node.until_settled()
    watcher.expect(lambda message: message.payload == b"29", "the last answer")
    answers = [message.payload for message in watcher.messages if message.topic == TOPICS.answer]
    assert answers == [b"%d" % number for number in range(30)]
    captions = [message.payload for message in watcher.messages if message.topic == TOPICS.caption("door")]
    assert captions == [b"caption 29"]
    assert node.account == Account(30, 30, 0, 0)
    watcher.close()


def test_answers_on_the_wire_when_the_broker_dies_arrive_once_and_in_order(broker: Broker, make_node: MakeNode) -> None:
    """Handed over and never acknowledged: they go again after the next connect, before newer ones, and only once."""
    node = make_node(broker.port)
    node.until_settled()
    broker.signal(signal.SIGSTOP)
    for number in range(20):
        node.send(TOPICS.answer, b"%d" % number)
    assert 0 < node.outbox.in_flight < 20
    broker.signal(signal.SIGKILL)
    broker.start()
    watcher = Watcher(broker.port, TOPICS.answer)
    node.until(lambda: not node.session.connected, "the loss to be seen")
    node.until_settled()
    watcher.expect(lambda message: message.payload == b"19", "the last answer")
    assert [message.payload for message in watcher.messages] == [b"%d" % number for number in range(20)]
    assert node.account == Account(20, 20, 0, 0)
    watcher.close()


def test_a_broker_that_acknowledges_nothing_is_left(
    broker: Broker, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs, or it has forgotten what it owes: a new connection, where everything goes again, is the only remedy."""
    node = make_node(broker.port, keepalive_s=60)  # pings would show it only in a minute or two
    node.until_settled()
    broker.signal(signal.SIGSTOP)
    node.send(TOPICS.answer, b"0")
    monkeypatch.setattr(session_module, "SILENCE_S", 0.5)
    node.until(lambda: not node.session.connected, "the connection to be cut")
    monkeypatch.undo()
    broker.signal(signal.SIGCONT)
    node.until_settled()
    assert node.account == Account(1, 1, 0, 0)


class NoRoom:
    """A connection to a broker that has no room for some messages; mosquitto never says so."""

    def __init__(self) -> None:
        self.published: list[bytes] = []

    def publish(self, _topic: str, payload: bytes, **_more: Any) -> int:
        self.published.append(payload)
        return len(self.published)

    def subscribe(self, topics: tuple[str, ...]) -> None:
        """Nothing is heard."""


def test_what_is_refused_for_now_is_sent_again_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight poisoned messages would fill the window and hold up all others for good."""
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    connection, outbox = NoRoom(), Store(None, StoreConfig()).outbox
    session = Session(cast("Connection", connection), TOPICS, outbox)
    session.handle(Connected(2**28))
    session.handle(Acknowledged(1, None))  # `online`
    session.send(Message("answer", "m1", "reply/poison", b"poison"))
    session.send(Message("answer", "m2", "reply/me", b"good"))
    for _ in range(60):
        before = len(connection.published)
        session.flush()
        for mid in range(before + 1, len(connection.published) + 1):
            is_poison = connection.published[mid - 1] == b"poison"
            session.handle(Acknowledged(mid, Refusal("Quota exceeded", is_final=False) if is_poison else None))
        now_s += 1
    assert connection.published.count(b"poison") == session_module.REFUSALS == session.refused
    assert outbox.account("answer") == Account(2, 1, 1, 0)


def test_what_the_broker_refuses_is_dropped_and_counted(
    tmp_path: Path, make_broker: MakeBroker, make_node: MakeNode
) -> None:
    """Sending it again would be refused again; the accounts still add up, and the others go out."""
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {TOPICS.root}/#\n", encoding="utf-8")
    acl.chmod(0o600)
    broker = make_broker(f"allow_anonymous true\nacl_file {acl}")
    node = make_node(broker.port)
    node.send("reply/me", b"{}")
    node.send(TOPICS.answer, b"{}")
    node.until_settled()
    assert node.account == Account(2, 1, 1, 0)
    assert node.session.refused == 1 and node.session.problem is None  # of one message, not of the connection
    node.session.stop(5)
