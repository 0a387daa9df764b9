"""paho's network thread gives signs of life, outlives a failing callback, and is replaced when it dies."""

from __future__ import annotations

import time

import pytest

from tests.broker import Broker, Watcher, broker, free_port, needs_mosquitto, wait_until
from tests.mqtt.node import TOPICS, MakeNode, make_node

__all__ = ["broker", "make_node"]
pytestmark = needs_mosquitto


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
