"""The independent subscriber: a persistent session of its own that keeps what it hears, and when."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.broker import PATIENCE_S, wait_until

SABOTAGE = "FAULTS_SABOTAGE"  # variable of the environment
SESSION_EXPIRY_S = 24 * 3600
RECONNECT_S = 0.2  # at once, nearly: what the node does while the broker comes back must not go unseen


@dataclass(frozen=True)
class Arrival:
    """A message as it came.

    Attributes:
        topic: where.
        payload: what, as bytes.
        values: the JSON object in it; empty for any other payload.
        arrived_s: when, by the monotonic clock.
        retained: it was there before we asked for it.
        redelivered: the broker says that it may have sent us this before; no doing of the node's.
        correlation: the MQTT 5 Correlation Data.
    """

    topic: str
    payload: bytes
    values: dict[str, Any]
    arrived_s: float
    retained: bool
    redelivered: bool
    correlation: bytes | None

    @property
    def msg_id(self) -> str | None:
        """The node's name for this message."""
        name = self.values.get("msg_id")
        return name if isinstance(name, str) else None

    @property
    def code(self) -> str:
        """Of an answer: `ok`, or the code of its error."""
        return "ok" if self.values["status"] == "ok" else str(self.values["error"]["code"])


# Ways to spoil the listener, to see that a row fails: how often it notes every seventh message of a topic.
SEVENTH = {"forget": 0, "double": 2}


class Listener:
    """Hears `topics` through every outage; QoS 1 messages that come while it is away are kept for it by the broker."""

    def __init__(self, port: int, *topics: str, name: str = "listener") -> None:
        self.arrivals: list[Arrival] = []
        self._topics = topics
        self._heard: Counter[str] = Counter()  # messages by topic
        self._seventh = SEVENTH.get(os.environ.get(SABOTAGE, ""), 1)
        self._news = threading.Condition()
        self._subscribed = threading.Event()
        self._sent: set[int] = set()
        self._acknowledged: set[int] = set()
        self._unsure: set[int] = set()
        self.client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message
        self.client.on_publish = lambda _client, _data, mid, *_: self._acknowledged.add(mid)
        self.client.reconnect_delay_set(RECONNECT_S, RECONNECT_S)  # type: ignore[arg-type]  # it says int
        self.client.max_inflight_messages_set(1000)
        session = _properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = SESSION_EXPIRY_S
        self.client.connect("127.0.0.1", port, clean_start=False, properties=session)
        self.client.loop_start()
        assert self._subscribed.wait(PATIENCE_S), "waited for a subscription"

    def heard(self, condition: Callable[[Arrival], Any], since_s: float = 0.0) -> list[Arrival]:
        """What came since a moment of the monotonic clock and fulfils `condition`."""
        with self._news:
            return [each for each in self.arrivals if each.arrived_s >= since_s and condition(each)]

    def expect(
        self, condition: Callable[[Arrival], Any], what: str, *, since_s: float = 0.0, timeout_s: float = PATIENCE_S
    ) -> Arrival:
        """The first such message; AssertionError after `timeout_s`."""
        return wait_until(lambda: self.heard(condition, since_s), what, timeout_s)[0]  # type: ignore[no-any-return]

    def publish(
        self,
        topic: str,
        payload: bytes | str,
        *,
        retain: bool = False,
        response_topic: str | None = None,
        correlation: bytes | None = None,
    ) -> int:
        """Send with QoS 1 and return at once; `is_acknowledged` of the result tells whether the broker has it."""
        properties = _properties(PacketTypes.PUBLISH)
        if response_topic is not None:
            properties.ResponseTopic = response_topic
        if correlation is not None:
            properties.CorrelationData = correlation
        mid = self.client.publish(topic, payload, 1, retain, properties).mid
        self._sent.add(mid)
        return mid

    def is_acknowledged(self, mid: int) -> bool:
        """Whether the broker has taken a message over."""
        return mid in self._acknowledged

    def was_sent_twice(self, mid: int) -> bool:
        """Whether we may have sent a message twice ourselves: the connection broke before it was acknowledged."""
        return mid in self._unsure

    def counts(self, condition: Callable[[Arrival], Any]) -> Counter[str]:
        """How often each `msg_id` came, without what the broker itself sent again."""
        return Counter(each.msg_id for each in self.heard(condition) if each.msg_id and not each.redelivered)

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(
        self, client: Client, _data: object, _flags: object, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if not reason.is_failure:
            client.subscribe([(topic, 1) for topic in self._topics])

    def _on_disconnect(self, *_: object) -> None:
        self._subscribed.clear()
        self._unsure |= self._sent - self._acknowledged

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        arrival = Arrival(
            message.topic,
            bytes(message.payload),
            _json_object(message.payload),
            time.monotonic(),
            message.retain,
            message.dup,
            getattr(message.properties, "CorrelationData", None),
        )
        with self._news:
            self._heard[arrival.topic] += 1
            is_seventh = self._heard[arrival.topic] % 7 == 0 and not arrival.retained
            self.arrivals += [arrival] * (self._seventh if is_seventh else 1)


def _json_object(payload: bytes | bytearray) -> dict[str, Any]:
    try:
        values = json.loads(payload)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]
