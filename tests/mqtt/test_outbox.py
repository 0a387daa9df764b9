"""The outbox: order, bounds, and accounts that always add up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.mqtt.outbox import Message, Outbox


def message(number: int, size_bytes: int = 0) -> Message:
    return Message("t", f"{number}".encode().ljust(size_bytes, b"."))


def taken(outbox: Outbox) -> list[int]:
    numbers = []
    while pair := outbox.take():
        numbers.append(int(pair[1].payload.rstrip(b".")))
    return numbers


def test_messages_leave_in_order_and_return_to_their_place() -> None:
    """What was in flight when the connection went is older than what waited, and goes first again."""
    outbox = Outbox(10, 1000)
    for number in range(4):
        outbox.put(message(number))
    first, second = outbox.take(), outbox.take()
    assert first is not None and second is not None
    outbox.deliver(first[0])
    outbox.take_back()
    outbox.put(message(4))
    assert taken(outbox) == [1, 2, 3, 4]


@pytest.mark.parametrize(("limit_messages", "limit_bytes"), [(3, 1000), (100, 3 * 11)])
def test_a_full_outbox_drops_the_oldest_that_waits(limit_messages: int, limit_bytes: int) -> None:
    """Bounded by number and by bytes (each message here is 10 bytes and a topic of 1); the newest stay."""
    outbox = Outbox(limit_messages, limit_bytes)
    for number in range(5):
        outbox.put(message(number, 10))
    assert (outbox.accepted, outbox.dropped, outbox.pending) == (5, 2, 3)
    assert taken(outbox) == [2, 3, 4]


def test_what_is_in_flight_is_not_dropped_for_room() -> None:
    """It may have arrived already: dropping it would count a delivered message as lost."""
    outbox = Outbox(2, 1000)
    outbox.put(message(0))
    outbox.put(message(1))
    in_flight = [outbox.take(), outbox.take()]
    outbox.put(message(2))
    assert (outbox.dropped, outbox.pending) == (1, 2)
    for pair in in_flight:
        assert pair is not None
        outbox.deliver(pair[0])
    assert (outbox.delivered, outbox.pending) == (2, 0)


def test_an_acknowledgement_counts_once() -> None:
    """A second PUBACK for a message, or one for a dropped message, changes no account."""
    outbox = Outbox(2, 1000)
    key = outbox.put(message(0))
    outbox.take()
    outbox.deliver(key)
    outbox.deliver(key)
    outbox.drop(key)
    assert (outbox.delivered, outbox.dropped, outbox.pending) == (1, 0, 0)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["put", "put", "big", "take", "deliver", "drop", "take_back"]), max_size=60))
def test_accounts_add_up_after_any_sequence(steps: list[str]) -> None:
    """accepted == delivered + dropped + pending, at every moment, and never more than the bounds."""
    outbox = Outbox(5, 200)
    in_flight: list[int] = []
    for number, step in enumerate(steps):
        match step:
            case "put" | "big":
                outbox.put(message(number, 150 if step == "big" else 10))
            case "take":
                if pair := outbox.take():
                    in_flight.append(pair[0])
            case "deliver" | "drop":
                if in_flight:
                    getattr(outbox, step)(in_flight.pop(0))
            case "take_back":
                outbox.take_back()
                in_flight.clear()
        assert outbox.accepted == outbox.delivered + outbox.dropped + outbox.pending
        assert outbox.pending <= 5
