"""A plain MQTT client of the demo, as anybody would write one: listens to captions and events, asks, takes answers."""

from __future__ import annotations

import json
import queue
import uuid
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_app.demo.broker import LOOPBACK, Broker
from edge_app.demo.service import CAMERA, NODE
from edge_app.mqtt.topics import Topics

TOPICS = Topics("edge_app", NODE)


class DemoClient:
    """Connects to the demo's broker; `next` gives what the service said, in order."""

    def __init__(self, broker: Broker) -> None:
        self._results: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        version = MQTTProtocolVersion.MQTTv5 if broker.protocol == "5" else MQTTProtocolVersion.MQTTv311
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=version)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect(LOOPBACK, broker.port)
        self._client.loop_start()

    def ask(self, question: str) -> str:
        """Send a question; its answer carries the id that is returned. Works with MQTT 3.1.1 and 5 alike."""
        question_id = uuid.uuid4().hex[:8]
        self._client.publish(TOPICS.ask, json.dumps({"id": question_id, "question": question, "camera": CAMERA}), qos=1)
        return question_id

    def next(self, timeout_s: float) -> dict[str, Any] | None:
        """The next caption, answer or event, as docs/mqtt.md has them; None if none comes in time."""
        try:
            return self._results.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, client: Client, _data: Any, _flags: ConnectFlags, _reason: ReasonCode, _properties: Properties | None
    ) -> None:
        client.subscribe([(TOPICS.caption(CAMERA), 1), (TOPICS.answer, 1), (TOPICS.event, 1)])

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._results.put(json.loads(message.payload))
