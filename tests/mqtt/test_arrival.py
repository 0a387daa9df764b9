"""What is sent to the node arrives whole, again if it was not acknowledged, and in bounded amounts."""

from __future__ import annotations

import socket

from edge_app.inbox import Inbox
from tests.broker import Broker, Watcher, broker, needs_mosquitto
from tests.mqtt.node import PROTOCOLS, TOPICS, MakeNode, make_node

__all__ = ["broker", "make_node"]
pytestmark = needs_mosquitto


def test_a_flood_of_what_nobody_waits_for_leaves_room_for_questions() -> None:
    """A message of QoS 1 that is turned away is never acknowledged, and after 64 of them the broker sends nothing."""
    inbox = Inbox(limit_messages=3)
    assert [inbox.offer(number) for number in range(4)] == [True, True, True, False]
    assert inbox.offer("question", owed=True)
    assert list(inbox.take_several(0, 10)) == [0, 1, 2, "question"]
    assert inbox.offer(4) and inbox.dropped == 1


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
