"""Messages on their way out: kept from our commit until the broker's acknowledgement, whatever happens in between.

Bounded in bytes and age: the oldest captions go first, then the oldest answers, then the oldest events. Each drop is
counted and later told in a `gap` event. At every moment, for each kind, `accepted == delivered + dropped + pending`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from edge_app.store.record import Record
from edge_app.store.records import Records

Kind = Literal["answer", "event", "caption"]
SEND_ORDER: tuple[Kind, ...] = ("answer", "event", "caption")  # who asked waits for it
DROP_ORDER: tuple[Kind, ...] = ("caption", "answer", "event")
log = logging.getLogger(__name__)

DURABLE_KINDS = frozenset({"answer", "event", "question"})  # for Records: a power cut after commit takes none of these


@dataclass(frozen=True)
class Message:
    """A message of QoS 1, not retained."""

    kind: Kind
    msg_id: str
    topic: str
    payload: bytes
    correlation: bytes | None = None


@dataclass(frozen=True)
class Account:
    """What has become of the messages of a kind; `accepted == delivered + dropped + pending`."""

    accepted: int
    delivered: int
    dropped: int
    pending: int


class Outbox:
    """In order within a kind; a message is waiting, then in flight, then delivered or dropped."""

    def __init__(
        self, records: Records, *, limit_bytes: int, memory_bytes: int, max_age_s: Mapping[Kind, float]
    ) -> None:
        self._records = records
        self._limit_bytes, self._memory_bytes, self._max_age_s = limit_bytes, memory_bytes, max_age_s
        self._in_flight: dict[int, Record] = {}
        self._taken: dict[Kind, int] = dict.fromkeys(SEND_ORDER, 0)  # the newest id that was taken: older do not wait
        self._openings = -1
        self._take_up_file()

    @property
    def pending(self) -> int:
        """Messages accepted, and neither delivered nor dropped yet."""
        return sum(self._records.counts[kind] for kind in SEND_ORDER)

    @property
    def in_flight(self) -> int:
        """Messages handed over to the connection and not acknowledged yet."""
        return len(self._in_flight)

    def account(self, kind: Kind) -> Account:
        """What has become of the messages of a kind, over the life of the store."""
        accepted, delivered = (self._records.tally(f"{kind}.{name}") for name in ("accepted", "delivered"))
        return Account(accepted, delivered, self._dropped(kind), self._records.counts[kind])

    def put(self, message: Message) -> None:
        """Accept a message; this may drop the oldest that wait, or at worst this one."""
        record = Record(
            message.kind,
            self._records.next_id(),
            message.msg_id,
            message.topic,
            message.payload,
            message.correlation,
            self._records.now_s,
        )
        self._records.put(record)
        self._records.add(f"{message.kind}.accepted")
        while sum(self._records.sizes[kind] for kind in SEND_ORDER) > self._limit_bytes and self._drop_oldest():
            pass
        while self._records.problem and self._records.unsaved_bytes > self._memory_bytes:
            if not self._drop_oldest(unsaved_only=True):
                break

    def take(self) -> Record | None:
        """Move the next waiting message in flight and return it; None if none waits."""
        for kind in SEND_ORDER:
            if record := self._first_waiting(kind):
                self._taken[kind] = record.id
                self._in_flight[record.id] = record
                return record
        return None

    def deliver(self, record: Record) -> None:
        """Let go of a message in flight that the broker has acknowledged."""
        self._settle(record, "delivered")

    def drop(self, record: Record) -> None:
        """Let go of a message in flight that will never be delivered."""
        self._settle(record, "dropped")

    def take_back(self) -> None:
        """The connection is gone: what was in flight waits again, in its old place."""
        self._in_flight.clear()
        self._taken = dict.fromkeys(SEND_ORDER, 0)

    def drop_old(self) -> None:
        """Drop what has waited longer than its kind is worth."""
        for kind, max_age_s in self._max_age_s.items():
            while record := self._first_waiting(kind):
                if self._records.now_s - record.stored_s <= max_age_s:
                    break
                self._let_go(record, "dropped")

    def take_gaps(self) -> Iterator[tuple[Kind, int]]:
        """Each kind of which messages were dropped since this was asked last, and how many; it is for you to tell."""
        for kind in SEND_ORDER:
            if untold := self._dropped(kind) - self._records.tally(f"{kind}.told"):
                self._records.add(f"{kind}.told", untold)
                yield kind, untold

    def _dropped(self, kind: Kind) -> int:
        return self._records.tally(f"{kind}.dropped") + self._records.tally(f"{kind}.lost")

    def _first_waiting(self, kind: Kind, *, unsaved_only: bool = False) -> Record | None:
        if not self._records.counts[kind]:
            return None  # the usual case costs no query
        self._take_up_file()
        record = self._records.first(kind, self._taken[kind], unsaved_only=unsaved_only)
        while record is not None and record.id in self._in_flight:
            record = self._records.first(kind, record.id, unsaved_only=unsaved_only)
        return record

    def _take_up_file(self) -> None:
        """A file was opened, late perhaps: what it holds may be older than what was taken, and its accounts decayed."""
        if self._openings == self._records.openings:
            return
        self._openings = self._records.openings
        self._taken = dict.fromkeys(SEND_ORDER, 0)
        for kind in SEND_ORDER:
            account = self.account(kind)
            if missing := account.delivered + account.dropped + account.pending - account.accepted:
                log.error("store accounts did not add up kind=%s missing=%d", kind, missing)
                self._records.add(f"{kind}.accepted", missing)

    def _drop_oldest(self, *, unsaved_only: bool = False) -> bool:
        """Drop the waiting message that is worth least; False if none waits."""
        for kind in DROP_ORDER:
            if record := self._first_waiting(kind, unsaved_only=unsaved_only):
                self._let_go(record, "dropped")
                return True
        return False

    def _settle(self, record: Record, end: Literal["delivered", "dropped"]) -> None:
        """Only what is in flight can be settled, so that no message counts twice."""
        if self._in_flight.pop(record.id, None) is not None:
            self._let_go(record, end)

    def _let_go(self, record: Record, end: Literal["delivered", "dropped"]) -> None:
        if self._records.delete(record):
            self._records.add(f"{record.kind}.{end}")
