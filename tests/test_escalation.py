"""The last rungs: what ends the service, and what does not."""

from __future__ import annotations

from edge_app.escalation import OVERDUE_LIMIT_S, SPAWN_LIMIT_S, LastResort


def test_nothing_wrong_is_no_reason() -> None:
    """Threads report, children start: for ever."""
    last = LastResort()
    assert not any(last.reason(float(now_s), [], [None, None]) for now_s in range(0, 100_000, 1000))


def test_a_thread_that_stays_overdue_ends_the_service_by_name() -> None:
    """After 20 s of looks that all find it overdue."""
    last = LastResort()
    assert last.reason(100, ["model"], []) is None
    assert last.reason(99 + OVERDUE_LIMIT_S, ["model"], []) is None
    assert last.reason(100 + OVERDUE_LIMIT_S, ["model"], []) == "The thread model does not report any more."


def test_a_service_that_was_stopped_for_a_while_goes_on() -> None:
    """SIGSTOP and SIGCONT after an hour: at the first look every thread is overdue, at the next none."""
    last = LastResort()
    assert last.reason(100, [], []) is None
    assert last.reason(3700, ["model", "mqtt"], []) is None
    assert last.reason(3700.1, [], []) is None
    assert last.reason(9999, ["model"], []) is None


def test_a_system_that_starts_no_process_for_two_minutes_ends_the_service() -> None:
    """One child that it refuses is enough, since every child is started alike; a moment's refusal is not."""
    last = LastResort()
    assert last.reason(1000 + SPAWN_LIMIT_S - 1, [], [None, 1000.0]) is None
    reason = last.reason(1000 + SPAWN_LIMIT_S, [], [None, 1000.0])
    assert reason == "The system has refused to start a child process for 120 s."
