"""Answers wait here until the broker has acknowledged them, through any number of reconnects.

In memory and bounded: when it is full, the oldest that is not on its way goes, and is counted. At every moment
`accepted == delivered + dropped + pending`. One thread owns it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One message of QoS 1."""

    topic: str
    payload: bytes
    correlation: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes, about: on the wire a few bytes of header come on top."""
        return len(self.payload) + len(self.topic.encode("utf-8")) + len(self.correlation or b"")


class Outbox:
    """First in, first out; a message is waiting, then in flight, then delivered or dropped."""

    def __init__(self, limit_messages: int, limit_bytes: int) -> None:
        self.accepted = self.delivered = self.dropped = 0
        self._limit_messages, self._limit_bytes = limit_messages, limit_bytes
        self._waiting: dict[int, Message] = {}  # by key; a dict keeps its order
        self._in_flight: dict[int, Message] = {}
        self._size_bytes = 0

    @property
    def pending(self) -> int:
        """Messages accepted, and neither delivered nor dropped yet."""
        return len(self._waiting) + len(self._in_flight)

    @property
    def in_flight(self) -> int:
        """Messages handed over to the connection and not acknowledged yet."""
        return len(self._in_flight)

    def put(self, message: Message) -> int:
        """Accept a message and return its key; this may drop the oldest waiting one, or at worst this one."""
        self.accepted += 1
        key = self.accepted
        self._waiting[key] = message
        self._size_bytes += message.size_bytes
        while self._waiting and (self.pending > self._limit_messages or self._size_bytes > self._limit_bytes):
            self.drop(next(iter(self._waiting)))
        return key

    def take(self) -> tuple[int, Message] | None:
        """Move the oldest waiting message in flight and return it with its key; None if none waits."""
        if not self._waiting:
            return None
        key = next(iter(self._waiting))
        message = self._in_flight[key] = self._waiting.pop(key)
        return key, message

    def deliver(self, key: int) -> None:
        """Let go of a message that the broker has acknowledged."""
        self.delivered += self._forget(key)

    def drop(self, key: int) -> None:
        """Let go of a message that will never be delivered."""
        self.dropped += self._forget(key)

    def take_back(self) -> None:
        """The connection is gone: what was in flight waits again, in its old place."""
        self._waiting = self._in_flight | self._waiting  # keys in flight are all older
        self._in_flight = {}

    def _forget(self, key: int) -> int:
        """Remove a message; 1 if it was there, else 0, so that no message counts twice."""
        message = self._in_flight.pop(key, None) or self._waiting.pop(key, None)
        if message is None:
            return 0
        self._size_bytes -= message.size_bytes
        return 1
