"""What a stranger finds at the broker is so: state before `online`, the newest only, and `offline` at the end."""

from __future__ import annotations

import signal
import socket

import pytest

from edge_app.store.outbox import Account
from tests.broker import Broker, Watcher, broker, make_broker, needs_mosquitto, wait_until
from tests.mqtt.node import PROTOCOLS, TOPICS, MakeBroker, MakeNode, make_node

__all__ = ["broker", "make_broker", "make_node"]
pytestmark = needs_mosquitto


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


@PROTOCOLS
def test_a_state_that_is_too_large_for_the_broker_is_kept_back_and_told(
    make_broker: MakeBroker, make_node: MakeNode, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker would end the connection, at each connect again; MQTT 3.1.1 cannot even say how much it takes."""
    broker = make_broker("allow_anonymous true\nmax_packet_size 131072")
    node = make_node(broker.port, protocol=protocol)
    large = TOPICS.camera_status("large")
    node.session.set_state(large, b"x" * 131_072)
    node.session.set_state(TOPICS.info, b"x" * 130_000)
    node.until_settled()
    node.session.set_state(large, b"x" * 131_072)
    node.session.send_now(TOPICS.health, b"x" * 131_072)
    node.send(TOPICS.answer, b"good")
    node.until_settled()
    problem = f"the broker takes messages of 131072 bytes at most: {large!r}, which has 131108, is kept back"
    assert node.session.problem == problem and node.session.lost == 1
    assert (node.connection._number, node.account) == (1, Account(1, 1, 0, 0))
    assert sum("state kept back" in record.message for record in caplog.records) == 1
    watcher = Watcher(broker.port, TOPICS.info, large)
    watcher.expect(lambda message: message.topic == TOPICS.info, "the state that is not too large")
    node.session.set_state(large, b"online")
    watcher.expect(lambda message: message.payload == b"online", "a smaller one")
    assert node.session.problem is None and watcher.count(large) == 1
    watcher.close()


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
