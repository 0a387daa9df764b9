"""The standing rules of a node: who may stand, when each is asked, and what is unknown when."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_app.errors import BadRequestError
from edge_app.rules.judge import NO_ANSWER
from edge_app.rules.keeper import RETRY_FAILED_S, STALE_S
from edge_app.rules.rule import MAX_RULES
from edge_app.rules.timetable import CORRECTED_S, Timetable
from edge_app.scheduler import Scheduler
from tests.rules.harness import YES, Wire, keeper, rule


def test_a_picture_goes_with_the_rule_that_it_was_made_for(tmp_path: Path) -> None:
    """Replaced by another rule, or without `snapshot` since the last run: who looks must not take it for the new."""
    wire = Wire()
    standing = keeper(tmp_path, rule("cup", snapshot=True), rule("dog"), allow_snapshots=True, wire=wire)
    standing.add(rule("hat", snapshot=True))
    standing.publish()
    assert [topic for topic, payload in wire.published if not payload] == ["dog/snapshot"]
    standing.pictured(standing.rules[2], b"jpeg")
    standing.add(rule("hat", snapshot=True, threshold_on=0.9))
    assert [payload for topic, payload in wire.published if topic == "hat/snapshot"] == [b"jpeg", b""]


def test_pictures_need_the_leave_of_the_configuration(tmp_path: Path) -> None:
    """Whoever reaches the broker could else look through the camera; leave that is taken back is so for old rules."""
    asked = rule("hat", snapshot=True)
    with pytest.raises(BadRequestError, match="allow_rule_snapshots"):
        keeper(tmp_path).add(asked)
    allowed = keeper(tmp_path, allow_snapshots=True)
    allowed.add(asked)
    allowed.save()
    assert allowed.wants_snapshots("door") and not allowed.wants_snapshots("yard")
    wire = Wire()
    forbidden = keeper(tmp_path, wire=wire)
    forbidden.publish()
    assert set(forbidden.states) == {"hat"} and not forbidden.wants_snapshots("door")
    assert ("hat/snapshot", b"") in wire.published
    forbidden.add(rule("dog"))
    forbidden.save()
    assert keeper(tmp_path, allow_snapshots=True).wants_snapshots("door")
    assert keeper(None, asked).wants_snapshots("door")  # in the file it is the operator's wish


def test_a_rule_that_is_replaced_begins_anew_and_one_that_is_repeated_does_not(tmp_path: Path) -> None:
    """An answer that still comes to the old question is nobody's."""
    standing = keeper(tmp_path)
    cup = rule("cup")
    standing.add(cup)
    assert standing.answered(cup, YES, 1.0)
    standing.add(rule("cup"))
    assert standing.states == {"cup": "ON"}
    standing.add(rule("cup", threshold_on=0.85))
    assert standing.states == {"cup": "unknown"}
    assert not standing.answered(cup, YES, 2.0)
    assert standing.states == {"cup": "unknown"}


def test_there_is_a_limit(tmp_path: Path) -> None:
    """One that is there already may be replaced all the same."""
    standing = keeper(None, *(rule(str(number)) for number in range(MAX_RULES - 1)))
    standing.add(rule("last"))
    with pytest.raises(BadRequestError, match="the limit"):
        standing.add(rule("more"))
    standing.add(rule("last", threshold_on=0.9))


def test_who_cannot_know_says_unknown(tmp_path: Path) -> None:
    """A camera that is offline, a model that does not start, a rule that is refused, an answer of long ago."""
    cup, hat = rule("cup"), rule("hat", camera="yard")
    standing = keeper(None, cup, hat)

    def all_on() -> None:
        standing.camera_online("yard")
        standing.model_ready()
        for each in (cup, hat):
            standing.answered(each, YES, time.monotonic())
        assert standing.states == {"cup": "ON", "hat": "ON"}

    def reasons() -> list[str | None]:
        return [told["reason"] for told in standing.describe()]

    all_on()
    standing.camera_offline("yard", "it was unplugged")
    assert standing.states == {"cup": "ON", "hat": "unknown"}
    assert reasons() == [None, "The camera is offline: it was unplugged."]
    all_on()
    standing.model_failed("The bundle is broken; install another one.")
    assert set(standing.states.values()) == {"unknown"}
    all_on()
    now_s = time.monotonic()
    standing.failed(cup, "The question has too many tokens; shorten it.", now_s)
    assert standing.states == {"cup": "unknown", "hat": "ON"}
    assert standing.timetable.next_s(["door"], 5) == now_s + RETRY_FAILED_S
    all_on()
    now_s = time.monotonic()
    standing.check(now_s + STALE_S - 1, interval_s=5)
    assert set(standing.states.values()) == {"ON"}
    held = standing.standing(cup)
    assert held is not None
    held.fresh_s = now_s + STALE_S  # its picture stands still
    standing.check(now_s + STALE_S + 1, interval_s=5)
    assert standing.states == {"cup": "ON", "hat": "unknown"}
    all_on()
    standing.check(time.monotonic() + STALE_S + 1, interval_s=60)  # three of its intervals are longer
    assert set(standing.states.values()) == {"ON"}


def test_an_answer_about_a_camera_that_is_offline_counts_for_nothing() -> None:
    """It was under way when the camera went, and is of the past; from the start on a camera is offline until told."""
    cup = rule("cup")
    standing = keeper(None, cup, online=False)
    assert not standing.answered(cup, YES, time.monotonic())
    assert standing.describe()[0]["reason"] == "The camera is offline: no frame yet."
    standing.camera_online("door")
    assert standing.describe()[0]["reason"] == NO_ANSWER
    assert standing.answered(cup, YES, time.monotonic())
    standing.camera_offline("door", "it was unplugged")
    assert not standing.answered(cup, YES, time.monotonic())
    assert standing.states == {"cup": "unknown"} and standing.describe()[0]["p_yes"] == YES.p_yes
    standing.check(time.monotonic() + 1000, interval_s=5)
    standing.camera_online("door")
    standing.check(time.monotonic() + 1001, interval_s=5)
    assert standing.describe()[0]["reason"] == NO_ANSWER  # nobody could answer while it was away


def test_a_reason_stays_as_long_as_it_is_true() -> None:
    """Time alone makes it no other, and what is told already is not told again; the camera matters more than the model,
    and the model more than its refusal.
    """
    wire, cup = Wire(), rule("cup")
    standing = keeper(None, cup, wire=wire)
    standing.publish()

    def reason_after(later_s: float) -> Any:
        standing.check(time.monotonic() + later_s, interval_s=5)
        return standing.describe()[0]["reason"]

    standing.failed(cup, "The question is too long.", time.monotonic())
    assert reason_after(1000) == "The question is too long."
    standing.camera_offline("door", "Plug it in.")
    assert reason_after(2000) == "The camera is offline: Plug it in."
    standing.model_failed("No bundle.")
    assert reason_after(3000) == "The camera is offline: Plug it in."
    standing.camera_online("door")
    told = len(wire.published)
    for minutes in range(5):
        standing.model_failed("No bundle.")
        assert reason_after(3000 + 60 * minutes) == "The model cannot start: No bundle."
    assert len(wire.published) == told
    standing.model_ready()
    assert reason_after(4000) == "The question is too long."
    standing.answered(cup, YES, time.monotonic() + 4000)
    assert reason_after(4000) is None
    assert reason_after(4000 + STALE_S + 1) == "It has not been answered for 60 s."


def asked_in_100_s(scheduler: Scheduler, before_each: Callable[[float], None]) -> Counter[str]:
    """How often each rule was asked, and a caption made, by a model that takes a second."""
    asked: Counter[str] = Counter()
    for now_s in range(100):
        before_each(now_s)
        asked.update(job.rule.id if job.rule else "caption" for job in scheduler.next_jobs(now_s, lambda _: True))
    return asked


def test_whoever_replaces_a_rule_again_and_again_keeps_nothing_from_the_model() -> None:
    """What replaces a rule is asked when that would have been: every 5 s, as captions and the others are."""
    timetable = Timetable()
    scheduler = Scheduler(("door",), 5, 4, timetable)
    timetable.put(rule("other"), "door", 0)
    asked = asked_in_100_s(scheduler, lambda now_s: timetable.put(rule("again", cooldown_s=now_s), "door", now_s))
    assert asked == {"caption": 20, "other": 20, "again": 20}


def test_whoever_adds_rules_again_and_again_keeps_nothing_from_the_model() -> None:
    """One that is new is asked at once, but behind whatever is due already."""
    timetable = Timetable()
    scheduler = Scheduler(("door",), 5, 4, timetable)
    timetable.put(rule("other"), "door", 0)

    def add_another(now_s: float) -> None:
        timetable.remove(f"rule{now_s - 1}")
        timetable.put(rule(f"rule{now_s}"), "door", now_s)

    asked = asked_in_100_s(scheduler, add_another)
    assert asked["caption"] == 20 and asked["other"] >= 20


def test_what_replaces_a_rule_that_was_refused_is_asked_soon_but_not_at_once() -> None:
    """It may be better; a model that refuses each of many must not be asked all the time."""
    timetable = Timetable()
    refused = rule("cup")
    timetable.put(refused, "door", 0)
    timetable.asked([refused], 0)
    timetable.bar("cup", RETRY_FAILED_S)
    for now_s in (2, 3, 4):
        timetable.put(rule("cup", cooldown_s=now_s), "door", now_s)
    assert timetable.next_s(["door"], 5) == CORRECTED_S


def test_a_change_is_logged_with_a_reason_only_where_there_is_one(caplog: pytest.LogCaptureFixture) -> None:
    """Why a state is unknown is of use; that it is ON has no reason."""
    caplog.set_level("INFO")
    cup = rule("cup")
    standing = keeper(None, cup)
    standing.answered(cup, YES, 1.0)
    standing.camera_offline("door", "unplugged")
    assert [record.getMessage() for record in caplog.records if "rule changed" in record.message] == [
        "rule changed id=cup state=ON",
        "rule changed id=cup state=unknown reason='The camera is offline: unplugged.'",
    ]
