"""What a client sees of this node: the order of birth, the newest of every state, each answer until acknowledged.

On every connect: subscribe, then all retained state, then `online`, then what waited in the outbox; so whoever sees
`online` can ask at once. One thread owns a session; paho's thread only makes the events that `handle` takes. What is
sent and what is acknowledged goes out in `flush`, after the owner has taken it to the disk.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from edge_app.backoff import Backoff
from edge_app.mqtt.connection import WINDOW, Connection
from edge_app.mqtt.events import (
    Acknowledged,
    Connected,
    Disconnected,
    Event,
    Refusal,
    SubscriptionsRefused,
    Unreachable,
)
from edge_app.mqtt.requests import Receipt
from edge_app.mqtt.topics import Topics
from edge_app.store.outbox import Message, Outbox
from edge_app.store.record import Record

SILENCE_S = 30.0  # without an acknowledgement that is owed: the broker answers pings, perhaps, but does not work
REFUSED = "the broker refuses a message"
REFUSALS = 5  # of one message, with growing pauses: half a minute in all; then the others matter more
PACKET_HEADER_BYTES = 64  # an upper bound of what a PUBLISH adds to topic, payload and correlation data

log = logging.getLogger(__name__)


class Session:
    """Retained state, answers and momentary messages over one connection."""

    def __init__(self, connection: Connection, topics: Topics, outbox: Outbox) -> None:
        self.connected = False
        self._problem: str | None = "not connected yet"
        self.lost = 0
        """Momentary messages (health) that had no connection to go out on, or were too large for it."""
        self._connection, self._topics, self._outbox = connection, topics, outbox
        self._states: dict[str, bytes] = {}
        self._packet_maximum_bytes = 0
        self._held_back: dict[str, int] = {}  # topic of a state that is too large for the broker: its size in bytes
        self._records_by_mid: dict[int, Record] = {}  # MQTT's message id: what it is in the outbox
        self._receipts: list[Receipt] = []
        self.refused = 0
        """Messages that the broker did not take, now or for ever."""
        self._refused: deque[Record] = deque()  # in flight still; to be sent again at _again_s
        self._refusals_of: dict[int, int] = {}  # id of a record: how often it was refused
        self._again_s = 0.0
        self._refusals = Backoff(1, 30)
        self._state_mids: dict[int, str] = {}  # MQTT's message id: topic of the state
        self._stale: set[str] = set()  # topics on their way whose state is another by now
        self._progress_s = 0.0  # monotonic time of the last acknowledgement, or of the first message that owes us one

    @property
    def problem(self) -> str | None:
        """Why not everything reaches the broker, as part of a sentence; None if it does."""
        if self._problem or not self._held_back:
            return self._problem
        topic, size_bytes = next(iter(self._held_back.items()))
        others = f", and {len(self._held_back) - 1} more are" if len(self._held_back) > 1 else " is"
        return (
            f"the broker takes messages of {self._packet_maximum_bytes} bytes at most: {topic!r}, which has "
            f"{size_bytes},{others} kept back"
        )

    @property
    def settled(self) -> bool:
        """The broker has acknowledged everything that was handed over, and nothing waits."""
        return not self._outbox.pending and not self._state_mids

    def start(self) -> None:
        """Begin to connect."""
        self._connection.start()

    def set_state(self, topic: str, payload: bytes) -> None:
        """Publish retained state; while the broker is away, or slow, only the newest of each topic is kept."""
        self._states[topic] = payload
        if topic in self._state_mids.values():
            self._stale.add(topic)
        elif self.connected:
            self._publish_state(topic, payload)

    def clear_state(self, topic: str) -> None:
        """Have the broker forget a retained message; an empty one does that (MQTT 5.0, 3.3.1.3)."""
        self.set_state(topic, b"")

    def keeps(self, topic: str) -> bool:
        """Whether a topic has a state, or one that the broker has not acknowledged to be cleared."""
        return topic in self._states

    def send(self, message: Message) -> None:
        """Publish at least once, from the next `flush` on, or after the next connect."""
        self._outbox.put(message)

    def acknowledge(self, receipt: Receipt) -> None:
        """Let the broker forget a message, with the next `flush`."""
        self._receipts.append(receipt)

    def flush(self) -> None:
        """Put on the wire what the disk has by now: receipts, then waiting messages as far as the window allows."""
        for receipt in self._receipts:
            self._connection.acknowledge(receipt)
        self._receipts.clear()
        self._hand_over()

    def send_now(self, topic: str, payload: bytes) -> None:
        """Publish what is worthless later; what cannot go out is counted and forgotten."""
        if self.connected and self._fits(len(topic) + len(payload)):
            self._connection.publish(topic, payload, qos=0)
        else:
            self.lost += 1

    def handle(self, event: Event) -> None:
        """Take one event of the connection."""
        match event:
            case Connected():
                self._on_connected(event)
            case Disconnected():
                self._on_disconnected(event)
            case Unreachable(reason):
                self._tell_problem(reason)
            case Acknowledged(mid, refusal):
                self._on_acknowledged(mid, refusal)
            case SubscriptionsRefused(reason):
                self._tell_problem(f"the broker refuses a subscription: {reason}")

    def check(self, now_s: float) -> None:
        """Mend a network thread that has died, and a connection that is one in name only; call this now and then."""
        if self._connection.revive():
            log.error("mqtt network thread had ended and was started again")
            self.handle(Disconnected("the network thread ended", taken_over=False))
        if not (self._records_by_mid or self._state_mids):
            self._progress_s = now_s
        elif self.connected and now_s - self._progress_s > SILENCE_S:
            self._progress_s = now_s
            self._tell_problem(f"the broker has acknowledged nothing for {SILENCE_S:g} s; connecting anew")
            self._connection.cut()

    def close(self) -> None:
        """Publish `offline` behind everything else; the caller then handles events until `settled`."""
        self.set_state(self._topics.availability, b"offline")

    def stop(self, timeout_s: float) -> None:
        """Disconnect, in an orderly way; the broker publishes the will only if it has not taken our own `offline`."""
        if self.connected and self._topics.availability in self._state_mids.values():
            self._connection.cut()
        self._connection.stop(timeout_s)
        self.connected = False

    def _on_connected(self, event: Connected) -> None:
        if self.connected:  # paho's thread was quicker than its own farewell
            self._forget_wire()
        self.connected, self._problem = True, None
        self._progress_s = time.monotonic()
        self._packet_maximum_bytes = event.packet_maximum_bytes
        log.info("mqtt connected pending=%d", self._outbox.pending)
        self._connection.subscribe(self._topics.subscriptions())
        availability = self._states.setdefault(self._topics.availability, b"online")
        for topic, payload in self._states.items():
            if topic != self._topics.availability:
                self._publish_state(topic, payload)
        self._publish_state(self._topics.availability, availability)

    def _on_disconnected(self, event: Disconnected) -> None:
        if not self.connected:
            return  # the end of an attempt that the broker refused; why is known already
        self._forget_wire()
        self.connected = False
        hint = " (does another client use our client id?)" if event.taken_over else ""
        self._tell_problem(f"disconnected: {event.reason}{hint}")

    def _forget_wire(self) -> None:
        """What was on its way is unsure: messages go again, states go anew on connect."""
        self._outbox.take_back()
        self._records_by_mid.clear()
        self._refused.clear()
        self._refusals_of.clear()
        self._stale.clear()
        self._state_mids.clear()

    def _on_acknowledged(self, mid: int, refusal: Refusal | None) -> None:
        self._progress_s = time.monotonic()
        topic = self._state_mids.pop(mid, None)
        if topic in self._stale:
            self._stale.discard(topic)
            self._publish_state(topic, self._states[topic])
        elif topic is not None and refusal is None and self._states.get(topic) == b"":
            del self._states[topic]  # or the names of all rules that ever were would pile up here
        record = self._records_by_mid.pop(mid, None)
        if refusal:
            self.refused += 1
            refused_topic = record.topic if record else topic
            self._tell_problem(f"{REFUSED} on {refused_topic!r}: {refusal.reason}")
        elif self._problem and self._problem.startswith(REFUSED):
            self._problem = None  # it takes others
        if record is None:
            return
        if refusal is None:
            self._outbox.deliver(record)
            self._refusals.reset()
        else:
            self._on_refused(record, refusal)

    def _on_refused(self, record: Record, refusal: Refusal) -> None:
        """What a broker refuses for now, for a quota, say, it may take in a while; the others do not wait for ever."""
        times = self._refusals_of.pop(record.id, 0) + 1
        if refusal.is_final or times >= REFUSALS:
            self._outbox.drop(record)
            return
        self._refusals_of[record.id] = times
        self._refused.append(record)
        self._again_s = time.monotonic() + self._refusals.next_s()

    def _publish_state(self, topic: str, payload: bytes) -> None:
        size_bytes = len(topic) + len(payload)
        if not self._fits(size_bytes):
            # It would end the connection, and go out again with the next one.
            if self._held_back.get(topic) != size_bytes:
                log.warning(
                    "state kept back topic=%r size_bytes=%d limit_bytes=%d",
                    topic,
                    size_bytes,
                    self._packet_maximum_bytes,
                )
            self._held_back[topic] = size_bytes
            return
        self._held_back.pop(topic, None)
        self._state_mids[self._connection.publish(topic, payload, qos=1, retain=True)] = topic

    def _hand_over(self) -> None:
        while self.connected and self._refused and time.monotonic() >= self._again_s:
            self._put_on_wire(self._refused.popleft())
        # One that is refused for now holds the others back: the broker has no room.
        while self.connected and not self._refused and self._outbox.in_flight < WINDOW:
            record = self._outbox.take()
            if record is None:
                return
            if not self._fits(record.size_bytes):
                log.warning(
                    "message dropped size_bytes=%d limit_bytes=%d", record.size_bytes, self._packet_maximum_bytes
                )
                self._outbox.drop(record)
            else:
                self._put_on_wire(record)

    def _fits(self, size_bytes: int) -> bool:
        """Whether the broker takes a message of which topic, payload and correlation data have `size_bytes`."""
        return size_bytes + PACKET_HEADER_BYTES <= self._packet_maximum_bytes

    def _put_on_wire(self, record: Record) -> None:
        mid = self._connection.publish(record.topic, record.payload, qos=1, correlation=record.correlation)
        self._records_by_mid[mid] = record

    def _tell_problem(self, reason: str) -> None:
        """Log a change of state, not each retry of the same."""
        if reason != self._problem:
            log.warning("mqtt problem reason=%r", reason)
        self._problem = reason
