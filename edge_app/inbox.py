"""One queue for everything that the service's main thread reacts to.

Threads and signal handlers put events in; the main thread takes them out, one at a time, so that it alone owns all
state and nothing needs a lock. Messages from the network are bounded in number; what else comes is bounded by nature
(one reply a request, one event a connection, one acknowledgement a message).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

LIMIT_MESSAGES = 512  # 16 KiB each at most: 8 MiB of questions that nobody has read yet


class Inbox:
    """Events for one taker."""

    def __init__(self, limit_messages: int = LIMIT_MESSAGES) -> None:
        self.dropped = 0
        """Network messages turned away; only the network's thread counts here."""
        # SimpleQueue.put may be interrupted by a signal handler that puts, too; Queue.put would deadlock.
        self._events: queue.SimpleQueue[tuple[object, threading.BoundedSemaphore | None]] = queue.SimpleQueue()
        # A flood of what nobody waits for (QoS 0) takes no room from what is owed an acknowledgement (QoS 1).
        self._rooms = {owed: threading.BoundedSemaphore(limit_messages) for owed in (False, True)}

    def post(self, event: object) -> None:
        """Put an event of the service's own; never waits, never drops."""
        self._events.put((event, None))

    def offer(self, message: object, *, owed: bool = False) -> bool:
        """Put a message from the network, or count it as dropped when too many of its kind wait; never waits."""
        room = self._rooms[owed]
        if not room.acquire(blocking=False):
            self.dropped += 1
            return False
        self._events.put((message, room))
        return True

    def take(self, timeout_s: float) -> object | None:
        """The next event, or None if none comes within `timeout_s`."""
        try:
            event, room = self._events.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None
        if room:
            room.release()
        return event

    def take_several(self, timeout_s: float, limit: int) -> Iterator[object]:
        """The next event, if one comes within `timeout_s`, and those that are there by then, at most `limit`."""
        for number in range(limit):
            event = self.take(0.0 if number else timeout_s)
            if event is None:
                return
            yield event
