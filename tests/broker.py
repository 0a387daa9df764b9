"""A real mosquitto on a free loopback port, and a client to watch it with."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE_S = 20  # a condition that has not come true by now never will
MOSQUITTO = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Wait for a condition to be true and return its value; fail with `what` after `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.01)
    return value


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses at present."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


MEMORY_ONLY = "persistence false"


class Broker:
    """One mosquitto; `stop` and `start` again keep its port."""

    def __init__(self, folder: Path, settings: str, persistence: str = MEMORY_ONLY) -> None:
        self.port = free_port()
        self.folder = folder
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nuser {Path.home().owner()}\n{persistence}\n{settings}\n",
            encoding="utf-8",
        )
        self._log = (folder / "mosquitto.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        assert MOSQUITTO is not None
        self.process = subprocess.Popen([MOSQUITTO, "-c", self._config], stdout=self._log, stderr=self._log)
        wait_until(self._is_open, "mosquitto to listen")

    def stop(self) -> None:
        """End the process that `start` started."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)  # a stopped process would not hear the next one
            self.process.terminate()
            self.process.wait(PATIENCE_S)
            self.process = None

    def signal(self, number: int) -> None:
        """Send a signal; after SIGKILL, wait for the end."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait(PATIENCE_S)

    def _is_open(self) -> bool:
        assert self.process is not None and self.process.poll() is None, "mosquitto has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Watcher:
    """A client that keeps every message it gets."""

    def __init__(
        self, port: int, *topics: str, protocol: str = "5", prepare: Callable[[Client], None] = lambda _client: None
    ) -> None:
        """`prepare` sets what the client needs before it connects: TLS, user and password."""
        self.messages: list[MQTTMessage] = []
        self._news = threading.Condition()
        self._is_v5 = protocol == "5"
        self._subscribed = threading.Event()
        self._topics = topics
        version = MQTTProtocolVersion.MQTTv5 if self._is_v5 else MQTTProtocolVersion.MQTTv311
        self.client = Client(CallbackAPIVersion.VERSION2, protocol=version)
        self.client.on_connect = lambda client, *_: client.subscribe([(topic, 1) for topic in topics])
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_disconnect = lambda *_: self._subscribed.clear()
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        prepare(self.client)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        self.wait_subscribed()

    def wait_subscribed(self) -> None:
        """Wait until the broker has confirmed the subscriptions of the newest connection."""
        assert self._subscribed.wait(PATIENCE_S), "waited for a subscription"

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._news:
            self.messages.append(message)
            self._news.notify_all()

    def expect(self, condition: Callable[[MQTTMessage], Any], what: str, timeout_s: float = PATIENCE_S) -> MQTTMessage:
        """The first message that fulfils `condition`; fails after `timeout_s`."""
        with self._news:
            found: MQTTMessage | None = None

            def look() -> bool:
                nonlocal found
                found = next((message for message in self.messages if condition(message)), None)
                return found is not None

            self._news.wait_for(look, timeout_s)
        seen = [(message.topic, bytes(message.payload[:80])) for message in self.messages[-10:]]
        assert found is not None, f"waited {timeout_s:g} s for {what}; the last messages were {seen}"
        return found

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        response_topic: str | None = None,
        correlation: bytes | None = None,
        retain: bool = False,
    ) -> None:
        """Publish with QoS 1 and wait for the broker's acknowledgement."""
        properties = None
        if self._is_v5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            if response_topic is not None:
                properties.ResponseTopic = response_topic
            if correlation is not None:
                properties.CorrelationData = correlation
        self.client.publish(topic, payload, 1, retain, properties).wait_for_publish(PATIENCE_S)

    def count(self, topic: str) -> int:
        """How many messages came on `topic`."""
        return sum(message.topic == topic for message in self.messages)

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


def body(message: MQTTMessage) -> Any:
    """The payload as JSON."""
    return json.loads(message.payload)


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Start brokers with settings of the test's own; they end with it, whatever happens."""
    running: list[Broker] = []

    def make(settings: str = "allow_anonymous true") -> Broker:
        folder = tmp_path / f"broker{len(running)}"
        folder.mkdir()
        running.append(Broker(folder, settings))
        return running[-1]

    yield make
    for each in running:
        each.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """An open broker for one test."""
    running = Broker(tmp_path, "allow_anonymous true")
    yield running
    running.stop()
