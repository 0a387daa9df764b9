"""Session and connection against a real broker: order of birth, redelivery, refusals, survival."""

from __future__ import annotations

import itertools
import logging
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from edge_app.errors import ConfigError
from edge_app.inbox import Inbox
from edge_app.mqtt import session as session_module
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.events import Acknowledged, Connected, Refusal
from edge_app.mqtt.requests import Inbound
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics
from edge_app.settings import MqttConfig, StoreConfig
from edge_app.store.outbox import Account, Message
from edge_app.store.store import Store
from tests.broker import PATIENCE_S, Broker, Watcher, broker, free_port, make_broker, needs_mosquitto, wait_until

__all__ = ["broker", "make_broker"]
pytestmark = needs_mosquitto
TOPICS = Topics("edge_app", "kitchen")


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
PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@PROTOCOLS
def test_who_sees_online_has_seen_the_state_and_can_ask(broker: Broker, make_node: MakeNode, protocol: str) -> None:
    """Order of birth: subscribe, then retained state, then `online`."""
    watcher = Watcher(broker.port, f"{TOPICS.root}/#")
    node = make_node(broker.port, protocol=protocol)
    node.session.set_state(TOPICS.info, b'{"v":1}')
    node.session.set_state(TOPICS.setting_state("pause"), b"OFF")
    node.until_settled()
    watcher.expect(lambda message: message.payload == b"online", "online")
    assert [message.topic for message in watcher.messages] == [
        TOPICS.info,
        TOPICS.setting_state("pause"),
        TOPICS.availability,
    ]
    watcher.publish(TOPICS.ask, b"what")
    node.until(lambda: node.received, "the question")
    late = Watcher(broker.port, f"{TOPICS.root}/#")
    late.expect(lambda message: message.topic == TOPICS.availability and message.retain, "retained online")
    late.close()
    watcher.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_network_thread_promises_progress_with_and_without_a_broker(
    broker: Broker, make_node: MakeNode, is_there: bool
) -> None:
    """Each turn of its loop, and each attempt to connect, is a sign of life; the next is due in 300 s at the latest."""
    node = make_node(broker.port if is_there else free_port())
    node.until(lambda: node.session.connected == is_there and node.promises, "the connection, or the failure")
    told = len(node.promises)
    node.until(lambda: len(node.promises) > told, "another sign of life")
    thread, by_s = node.promises[-1]
    assert thread == "mqtt"
    assert 290 < by_s - time.monotonic() <= 300


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


def test_a_slow_broker_gets_the_newest_of_each_state(broker: Broker, make_node: MakeNode) -> None:
    """What nobody will look at any more does not stand before an answer in the queue."""
    node = make_node(broker.port, keepalive_s=60)
    node.until_settled()
    watcher = Watcher(broker.port, TOPICS.caption("door"))
    broker.signal(signal.SIGSTOP)
    for number in range(50):
        node.session.set_state(TOPICS.caption("door"), b"%d" % number)
    broker.signal(signal.SIGCONT)
    node.until_settled()
    watcher.expect(lambda message: message.payload == b"49", "the newest")
    assert [message.payload for message in watcher.messages] == [b"0", b"49"]
    watcher.close()


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


def test_a_flood_of_what_nobody_waits_for_leaves_room_for_questions() -> None:
    """A message of QoS 1 that is turned away is never acknowledged, and after 64 of them the broker sends nothing."""
    inbox = Inbox(limit_messages=3)
    assert [inbox.offer(number) for number in range(4)] == [True, True, True, False]
    assert inbox.offer("question", owed=True)
    assert list(inbox.take_several(0, 10)) == [0, 1, 2, "question"]
    assert inbox.offer(4) and inbox.dropped == 1


def test_a_will_says_offline_when_the_connection_breaks(broker: Broker, make_node: MakeNode) -> None:
    """Nobody has to say goodbye for the others to know."""
    watcher = Watcher(broker.port, TOPICS.availability)
    node = make_node(broker.port)
    node.until_settled()
    # The socket is shut under paho's feet, which is what a pulled plug looks like to the broker.
    sock = node.connection._client.socket()
    assert isinstance(sock, socket.socket)
    sock.shutdown(socket.SHUT_RDWR)
    watcher.expect(lambda message: message.payload == b"offline", "the will")
    node.until(lambda: not node.session.connected, "the loss to be seen")
    node.until_settled()
    wait_until(lambda: watcher.messages[-1].payload == b"online", "online again")
    watcher.close()


def test_an_orderly_stop_publishes_offline_once(broker: Broker, make_node: MakeNode) -> None:
    """`offline` is ours; the will is not needed and not sent."""
    watcher = Watcher(broker.port, TOPICS.availability)
    node = make_node(broker.port)
    node.until_settled()
    node.session.close()
    node.until_settled()
    node.session.stop(5)
    watcher.publish(TOPICS.availability, b"end of test")
    watcher.expect(lambda message: message.payload == b"end of test", "the marker")
    assert [message.payload for message in watcher.messages] == [b"online", b"offline", b"end of test"]
    watcher.close()


@PROTOCOLS
def test_a_refused_connection_is_not_a_connection_and_told_once(
    tmp_path: Path, make_broker: MakeBroker, make_node: MakeNode, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad password gives a CONNACK, too: it must not count as connected, and not fill the log."""
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "node", "right"], check=True, capture_output=True)
    passwords.chmod(0o600)
    broker = make_broker(f"allow_anonymous false\npassword_file {passwords}")
    secret = tmp_path / "secret"
    secret.write_text("wrong\n", encoding="utf-8")
    attempts: list[object] = []
    with caplog.at_level(logging.WARNING):
        node = make_node(broker.port, protocol=protocol, user="node", password_file=secret)
        original = node.session.handle

        def counted(event: Any) -> None:
            attempts.append(event)
            original(event)

        node.session.handle = counted  # type: ignore[method-assign]
        node.until(lambda: len(attempts) >= 4, "a second attempt")  # each: refused, then disconnected
    assert not node.session.connected
    assert node.session.problem is not None and "refused" in node.session.problem
    assert sum("mqtt problem" in record.message for record in caplog.records) == 1
    node.session.stop(5)
    secret.write_text("right\n", encoding="utf-8")
    again = make_node(broker.port, protocol=protocol, user="node", password_file=secret)
    again.until(lambda: again.session.connected, "the connection with the right password")
    again.session.stop(5)


def test_the_reason_of_a_failed_attempt_is_known(make_node: MakeNode) -> None:
    """paho keeps it to itself; a person needs it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    node = make_node(port)
    node.until(lambda: node.session.problem and "ConnectionRefused" in node.session.problem, "the reason")
    unknown = make_node(port, host="no-such-host.invalid")
    unknown.until(lambda: unknown.session.problem and "gaierror" in unknown.session.problem, "the reason")


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


def test_state_that_is_cleared_is_gone_from_the_broker_and_from_memory(broker: Broker, make_node: MakeNode) -> None:
    """Also where it was cleared while the broker was away; a state that is set anew meanwhile stays."""
    node = make_node(broker.port)
    node.until_settled()
    gone, back = f"{TOPICS.root}/rule/gone/state", f"{TOPICS.root}/rule/back/state"
    node.session.set_state(gone, b"ON")
    node.session.set_state(back, b"ON")
    node.until_settled()
    broker.stop()
    node.until(lambda: not node.session.connected, "the end of the connection")
    node.session.clear_state(gone)
    node.session.clear_state(back)
    node.session.set_state(back, b"OFF")
    broker.start()
    node.until_settled()
    node.session.clear_state(gone)  # once more: nothing is left to clear, and no harm is done
    node.until_settled()
    watcher = Watcher(broker.port, f"{TOPICS.root}/rule/#")
    assert watcher.expect(lambda _: True, "what is retained").topic == back
    assert watcher.count(gone) == 0
    watcher.close()


def test_the_broker_is_told_to_keep_large_packets(broker: Broker, make_node: MakeNode) -> None:
    """MQTT 5 MaximumPacketSize: a huge question never reaches our memory; the next one does."""
    watcher = Watcher(broker.port, TOPICS.availability)
    node = make_node(broker.port)
    node.until_settled()
    watcher.publish(TOPICS.ask, b"x" * 2_000_000)
    watcher.publish(TOPICS.ask, b"y" * 20_000)
    watcher.publish(TOPICS.ask, b"what")
    node.until(lambda: len(node.received) >= 2, "the two questions that fit")
    assert [(message.size_bytes, message.payload) for message in node.received] == [(20_000, b""), (4, b"what")]
    watcher.close()


@PROTOCOLS
def test_what_is_not_acknowledged_comes_again_after_a_reconnect(
    broker: Broker, make_node: MakeNode, protocol: str
) -> None:
    """A question that was lost between arrival and disk is still the broker's; one that is stored is ours alone."""

    def cut() -> None:
        sock = node.connection._client.socket()
        assert isinstance(sock, socket.socket)
        sock.shutdown(socket.SHUT_RDWR)
        node.until(lambda: not node.session.connected, "the loss to be seen")
        node.until_settled()

    watcher = Watcher(broker.port, TOPICS.availability)
    node = make_node(broker.port, protocol=protocol)
    node.until_settled()
    node.acknowledges = False
    watcher.publish(TOPICS.ask, b"first")
    node.until(lambda: node.received, "the question")
    node.acknowledges = True
    cut()
    node.until(lambda: len(node.received) == 2, "the question again")
    assert [(message.payload, message.repeated) for message in node.received] == [(b"first", False), (b"first", True)]
    assert node.received[0].fingerprint == node.received[1].fingerprint
    cut()
    watcher.publish(TOPICS.ask, b"second")
    node.until(lambda: len(node.received) == 3, "the next question")
    assert node.received[2].payload == b"second"
    watcher.close()


def test_response_topic_and_correlation_data_arrive_byte_for_byte(broker: Broker, make_node: MakeNode) -> None:
    """Correlation data is binary: every byte value survives both ways."""
    correlation = bytes(range(0, 256, 4))
    watcher = Watcher(broker.port, "reply/#")
    node = make_node(broker.port)
    node.until_settled()
    watcher.publish(TOPICS.ask, b"what", response_topic="reply/me", correlation=correlation)
    node.until(lambda: node.received, "the question")
    received = node.received[0]
    assert (received.response_topic, received.correlation) == ("reply/me", correlation)
    node.send("reply/me", b"{}", received.correlation)
    node.until_settled()
    answer = watcher.expect(lambda message: message.topic == "reply/me", "the answer")
    assert answer.properties is not None
    properties = answer.properties.json()  # type: ignore[no-untyped-call]
    assert properties["CorrelationData"] == correlation.hex()
    assert properties["ContentType"] == "application/json"
    watcher.close()


def test_a_failing_callback_does_not_end_the_network_thread(
    broker: Broker, make_node: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception in a paho callback ends its thread silently; the wrapper keeps it and logs."""
    watcher = Watcher(broker.port, TOPICS.availability)
    node = make_node(broker.port)
    node.until_settled()
    offer, node.connection._offer = node.connection._offer, lambda _message: 1 / 0  # type: ignore[assignment]
    watcher.publish(TOPICS.ask, b"first")
    wait_until(lambda: "mqtt callback failed" in caplog.text, "the failure to be logged")
    node.connection._offer = offer
    watcher.publish(TOPICS.ask, b"second")
    node.until(lambda: node.received, "the second question")
    watcher.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_network_thread_is_seen_and_replaced(
    broker: Broker, make_node: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    """A packet that paho cannot read kills its thread while is_connected() still says True."""
    node = make_node(broker.port)
    node.until_settled()
    before = node.connection._thread
    assert before is not None

    def broken(*_args: object) -> None:
        raise ValueError("a malformed packet")

    original = node.connection._client._loop
    node.connection._client._loop = broken  # type: ignore[method-assign, assignment]
    wait_until(lambda: not before.is_alive(), "the thread to die")
    node.connection._client._loop = original  # type: ignore[method-assign]
    node.send(TOPICS.answer, b"{}")
    node.until_settled()
    assert "mqtt network thread had ended" in caplog.text
    assert node.connection._thread is not before


def test_certificate_and_host_name_are_checked(tmp_path: Path, make_broker: MakeBroker, make_node: MakeNode) -> None:
    """TLS that accepts any certificate is no TLS: only the right CA and the right name connect."""
    certify(tmp_path, "good", "subjectAltName=IP:127.0.0.1")
    certify(tmp_path, "other", "subjectAltName=DNS:elsewhere.example")
    for name in ("good", "other"):
        broker = make_broker(f"allow_anonymous true\ncertfile {tmp_path}/{name}.pem\nkeyfile {tmp_path}/{name}.key")
        trusted = make_node(broker.port, tls_ca_certs=tmp_path / f"{name}.pem")
        if name == "good":
            trusted.until(lambda: trusted.session.connected, "the TLS connection")  # noqa: B023
        else:
            trusted.until(lambda: "CERTIFICATE_VERIFY" in (trusted.session.problem or ""), "the refusal")  # noqa: B023
        stranger = make_node(broker.port, tls=True)
        stranger.until(lambda: "CERTIFICATE_VERIFY" in (stranger.session.problem or ""), "the refusal")  # noqa: B023
        trusted.session.stop(5)
        stranger.session.stop(5)


def certify(folder: Path, name: str, extension: str) -> None:
    """A self-signed certificate for one day."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", f"/CN={name}", "-addext", extension]
    command += ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
    subprocess.run(command, check=True, capture_output=True)


def test_files_that_cannot_be_used_are_configuration_errors(tmp_path: Path) -> None:
    """Told at the start with the key, not as a connection that never comes."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate", encoding="utf-8")
    certify(tmp_path, "good", "subjectAltName=IP:127.0.0.1")
    for key, config in {
        "mqtt.tls_ca_certs": {"tls_ca_certs": broken},
        "mqtt.tls_client_cert": {"tls": True, "tls_client_cert": broken, "tls_client_key": broken},
        "mqtt.password_file": {"user": "node", "password_file": tmp_path / "missing"},
    }.items():
        with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
            Connection(MqttConfig.model_validate(config), "id", "t", lambda _: None, Inbox().offer)


def test_two_clients_of_one_id_do_not_fight(broker: Broker, make_node: MakeNode) -> None:
    """Each connect throws the other out; both notice, say so, and back off."""
    nodes = first, second = make_node(broker.port), make_node(broker.port)
    told: set[Node] = set()

    def both_told() -> bool:
        second.turn(0.02)
        told.update(node for node in nodes if "client id" in (node.session.problem or ""))
        return len(told) == 2

    first.until(both_told, "both to say that the client id is used twice")
    connects = (broker.folder / "mosquitto.log").read_text(encoding="utf-8").count("New client connected")
    assert 4 <= connects <= 10
