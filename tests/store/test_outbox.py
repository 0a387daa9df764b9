"""The outbox: order, bounds, gaps, and accounts that always add up, over restarts too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.settings import StoreConfig
from edge_app.store import records as records_module
from edge_app.store.clock import StoreClock
from edge_app.store.outbox import SEND_ORDER, Account, Kind, Message, Outbox
from edge_app.store.record import Record
from edge_app.store.records import Records
from edge_app.store.store import Store


def message(number: int, kind: Kind = "answer", size_bytes: int = 0) -> Message:
    return Message(kind, f"m{number}", "t", f"{number}".encode().ljust(size_bytes, b"."))


def make(
    limit_bytes: int = 10_000, memory_bytes: int = 10_000, max_age_s: Any = None, path: Path | None = None
) -> Outbox:
    records = Records(path, limit_bytes, frozenset({"answer", "event"}))
    return Outbox(records, limit_bytes=limit_bytes, memory_bytes=memory_bytes, max_age_s=max_age_s or {})


def taken(outbox: Outbox) -> list[int]:
    numbers = []
    while record := outbox.take():
        numbers.append(int(record.payload.rstrip(b".")))
    return numbers


def take(outbox: Outbox) -> Record:
    record = outbox.take()
    assert record is not None
    return record


def test_messages_leave_in_order_and_return_to_their_place() -> None:
    """What was in flight when the connection went is older than what waited, and goes first again."""
    outbox = make()
    for number in range(4):
        outbox.put(message(number))
    first = take(outbox)
    take(outbox)
    outbox.deliver(first)
    outbox.take_back()
    outbox.put(message(4))
    assert taken(outbox) == [1, 2, 3, 4]


def test_answers_go_before_events_and_those_before_captions() -> None:
    """Somebody waits for an answer; an hour of captions after an outage must not stand in its way."""
    outbox = make()
    kinds: list[Kind] = ["caption", "event", "answer", "caption", "answer"]
    for number, kind in enumerate(kinds):
        outbox.put(message(number, kind))
    assert taken(outbox) == [2, 4, 1, 0, 3]


def test_a_full_outbox_drops_captions_then_answers_then_events_the_oldest_first() -> None:
    """What is worth least goes first; each message here takes 64 + 100 + 1 bytes."""
    outbox = make(limit_bytes=3 * 165)
    kinds: list[Kind] = ["event", "answer", "caption", "answer", "caption", "answer", "event", "event"]
    kept = []
    for number, kind in enumerate(kinds):
        outbox.put(message(number, kind, 100))
        kept.append(outbox.pending)
    assert kept == [1, 2, 3, 3, 3, 3, 3, 3]
    assert taken(outbox) == [0, 6, 7]
    assert [outbox.account(kind).dropped for kind in SEND_ORDER] == [3, 0, 2]


def test_what_is_in_flight_is_not_dropped_for_room() -> None:
    """It may have arrived already: dropping it would count a delivered message as lost."""
    outbox = make(limit_bytes=2 * 165)
    outbox.put(message(0, size_bytes=100))
    outbox.put(message(1, size_bytes=100))
    in_flight = [take(outbox), take(outbox)]
    outbox.put(message(2, size_bytes=100))
    assert outbox.account("answer") == Account(3, 0, 1, 2)
    for record in in_flight:
        outbox.deliver(record)
    assert outbox.account("answer") == Account(3, 2, 1, 0)


def test_an_acknowledgement_counts_once() -> None:
    """A second PUBACK for a message, or one for a dropped message, changes no account."""
    outbox = make()
    outbox.put(message(0))
    record = take(outbox)
    outbox.deliver(record)
    outbox.deliver(record)
    outbox.drop(record)
    assert outbox.account("answer") == Account(1, 1, 0, 0)


def test_what_is_too_old_is_dropped_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are on a clock of the store's own; each drop is in exactly one gap."""
    now_s = 1000.0
    monkeypatch.setattr(StoreClock, "now_s", property(lambda _: now_s))
    outbox = make(max_age_s={"answer": 60.0, "caption": 10.0})
    outbox.put(message(0))
    outbox.put(message(1, "caption"))
    now_s += 11
    outbox.put(message(2, "caption"))
    outbox.drop_old()
    assert list(outbox.take_gaps()) == [("caption", 1)]
    assert list(outbox.take_gaps()) == []
    now_s += 50
    outbox.drop_old()
    assert list(outbox.take_gaps()) == [("answer", 1), ("caption", 1)]
    assert outbox.pending == 0


def test_messages_and_accounts_outlive_the_process(tmp_path: Path) -> None:
    """Another run finds what was not delivered, in order, and goes on counting; what was in flight goes again."""
    store = Store(tmp_path, StoreConfig())
    for number in range(3):
        store.outbox.put(message(number))
    store.outbox.deliver(take(store.outbox))
    take(store.outbox)
    store.close()
    store = Store(tmp_path, StoreConfig())
    assert store.outbox.account("answer") == Account(3, 1, 0, 2)
    store.outbox.put(message(3))
    assert taken(store.outbox) == [1, 2, 3]
    store.close()


def test_what_was_dropped_before_a_restart_is_told_after_it(tmp_path: Path) -> None:
    """A gap is not forgotten because nobody was there to hear of it."""
    for run in range(2):
        outbox = make(limit_bytes=165, path=tmp_path / "messages.db")
        if run == 0:
            outbox.put(message(0, size_bytes=100))
            outbox.put(message(1, size_bytes=100))
            outbox._records.commit()
        else:
            assert list(outbox.take_gaps()) == [("answer", 1)]
        outbox._records.close()


def test_what_a_file_that_is_found_late_holds_goes_out_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is older than what was taken from memory meanwhile; what is in flight is not taken twice."""
    monkeypatch.setattr(records_module, "RETRY_S", 0.0)
    path = tmp_path / "messages.db"
    first, second = make(path=path), make(path=path)
    first.put(message(0))
    first._records.commit()
    second.put(message(1))
    assert take(second).payload == b"1"
    second.put(message(2))
    first._records.close()
    second._records.commit()
    assert taken(second) == [0, 2]
    second._records.close()


class Life:
    """An outbox on a disk, and everything that can happen to it."""

    LIMIT_BYTES = 600

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outbox = make(self.LIMIT_BYTES, 300, path=path)
        self.in_flight: list[Record] = []
        self.number = 0

    @property
    def records(self) -> Records:
        return self.outbox._records

    def put(self, kind: Kind = "answer", size_bytes: int = 10) -> None:
        self.number += 1
        self.outbox.put(message(self.number, kind, size_bytes))

    def take(self) -> None:
        if record := self.outbox.take():
            self.in_flight.append(record)

    def settle(self, end: str) -> None:
        if self.in_flight:
            getattr(self.outbox, end)(self.in_flight.pop(0))

    def take_back(self) -> None:
        self.outbox.take_back()
        self.in_flight.clear()

    def set_read_only(self, value: str) -> None:
        assert self.records._connection is not None
        self.records._connection.execute(f"PRAGMA query_only = {value}")
        self.records._retry_s = 0.0

    def restart(self) -> None:
        """An orderly one; what a killed process may lose is another test's affair."""
        self.set_read_only("OFF")
        self.records.commit()
        assert self.records.problem is None
        self.records.close()
        self.outbox = make(self.LIMIT_BYTES, 300, path=self.path)
        self.in_flight.clear()


STEPS: dict[str, Callable[[Life], None]] = {
    "put": Life.put,
    "put a large one": lambda life: life.put(size_bytes=150),
    "put a caption": lambda life: life.put("caption"),
    "take": Life.take,
    "deliver": lambda life: life.settle("deliver"),
    "drop": lambda life: life.settle("drop"),
    "take back": Life.take_back,
    "commit": lambda life: life.records.commit(),
    "disk full": lambda life: life.set_read_only("ON"),
    "disk has room": lambda life: life.set_read_only("OFF"),
    "restart": Life.restart,
}


@settings(derandomize=True, max_examples=150, deadline=None)
@given(steps=st.lists(st.sampled_from(list(STEPS)), max_size=50))
def test_accounts_add_up_after_any_sequence(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    """accepted == delivered + dropped + pending for each kind, at every moment, over restarts and full disks."""
    life = Life(tmp_path_factory.mktemp("store") / "messages.db")
    for step in steps:
        STEPS[step](life)
        for kind in SEND_ORDER:
            account = life.outbox.account(kind)
            assert account.accepted == account.delivered + account.dropped + account.pending
            assert min(account.accepted, account.delivered, account.dropped, account.pending) >= 0
        waiting_bytes = sum(life.records.sizes[kind] for kind in SEND_ORDER)
        assert waiting_bytes <= life.LIMIT_BYTES + sum(record.size_bytes for record in life.in_flight)
    life.records.close()
