"""The standing rules of a node: what stays, what goes, and what is unknown when."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_app.errors import BadRequestError
from edge_app.inbox import Inbox
from edge_app.messages import MessageIds, Result
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics
from edge_app.publisher import Publisher
from edge_app.rules import kept
from edge_app.rules.judge import NO_ANSWER
from edge_app.rules.keeper import RETRY_FAILED_S, STALE_S, RuleKeeper
from edge_app.rules.rule import MAX_RULES, RuleConfig
from edge_app.rules.timetable import CORRECTED_S, Timetable
from edge_app.scheduler import Scheduler
from edge_app.settings import MqttConfig, StoreConfig
from edge_app.store.store import Store

YES = Result(type="answer", ts="", status="ok", p_yes=0.9, yes_no_mass=1.0)


def rule(id: str, **values: Any) -> RuleConfig:
    return RuleConfig(id=id, question=f"is there a {id}?", consecutive=1, **values)


class Wire(Session):
    """A session whose broker is away, and what it was given to publish retained, in order."""

    def __init__(self) -> None:
        topics = Topics("edge_app", "kitchen")
        connection = Connection(MqttConfig(), "kitchen", topics.availability, lambda _: None, Inbox().offer)
        self.store = Store(None, StoreConfig())
        super().__init__(connection, topics, self.store.outbox)
        self.published: list[tuple[str, bytes]] = []

    def set_state(self, topic: str, payload: bytes) -> None:
        self.published.append((topic.removeprefix("edge_app/kitchen/rule/"), payload))
        super().set_state(topic, payload)


def keeper(
    folder: Path | None,
    *rules: RuleConfig,
    allow_snapshots: bool = False,
    cameras: Sequence[str] = ("door", "yard"),
    online: bool = True,
    wire: Wire | None = None,
) -> RuleKeeper:
    """A keeper that has been told of its cameras, if they are online."""
    session = wire or Wire()
    publisher = Publisher(session, Topics("edge_app", "kitchen"), session.store.questions, MessageIds())
    made = RuleKeeper(rules, cameras, publisher, folder, allow_snapshots=allow_snapshots)
    for camera in cameras if online else ():
        made.camera_online(camera)
    return made


def test_what_came_by_mqtt_is_there_again_and_the_file_of_the_configuration_wins(tmp_path: Path) -> None:
    """Also with all their settings; a rule whose id the configuration took is left out."""
    first = keeper(tmp_path, rule("cup"))
    hat, dog = rule("hat", region=(0.0, 0.0, 0.5, 1.0), cooldown_s=3.5), rule("dog", camera="yard")
    for each in (hat, dog):
        first.add(each)
    first.save()
    second = keeper(tmp_path, rule("cup"))
    assert [told["id"] for told in second.describe()] == ["cup", "hat", "dog"]
    assert kept.read(tmp_path).rules == (hat, dog)
    second.save()
    third = keeper(tmp_path, rule("hat", threshold_on=0.9))
    assert [(told["id"], told["origin"], told["threshold_on"]) for told in third.describe()] == [
        ("hat", "config", 0.9),
        ("dog", "mqtt", 0.8),
    ]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails half-way leaves the old file; the rule works, and what is wrong is said."""
    standing = keeper(tmp_path)
    standing.add(rule("cup"))
    standing.save()

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    standing.add(rule("hat"))
    standing.save()
    assert "No space left on device" in str(standing.problem)
    assert set(standing.states) == {"cup", "hat"}
    assert [each.id for each in kept.read(tmp_path).rules] == ["cup"]
    monkeypatch.undo()
    standing.check(time.monotonic(), interval_s=5)  # it is tried again by itself
    standing.save()
    assert standing.problem is None
    assert [each.id for each in kept.read(tmp_path).rules] == ["cup", "hat"]


def test_the_rules_of_one_turn_are_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writing waits for the disk, and meanwhile nothing else is done; without a change there is none."""
    standing = keeper(tmp_path)
    written: list[int] = []
    monkeypatch.setattr(kept, "write", lambda _folder, rules, _published: written.append(len(rules)))
    for number in range(10):
        standing.add(rule(str(number)))
    standing.remove("3")
    standing.save()
    standing.save()
    assert written == [9]


def test_rules_that_could_not_be_read_are_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written in their place; when the disk gives them they are taken up beside those of meanwhile."""
    first = keeper(tmp_path)
    first.add(rule("hat"))
    first.save()

    def fail(_path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        second = keeper(tmp_path, rule("cup"))
        second.publish()
        second.add(rule("dog"))
        second.save()
        assert "could not be read (Input/output error)" in str(second.problem)
    assert [each.id for each in kept.read(tmp_path).rules] == ["hat"]
    second.check(time.monotonic(), interval_s=5)
    second.save()
    assert (set(second.states), second.problem) == ({"cup", "dog", "hat"}, None)
    assert {each.id for each in kept.read(tmp_path).rules} == {"dog", "hat"}


def test_rules_for_which_there_is_no_camera_or_no_room_wait_on_the_disk(tmp_path: Path) -> None:
    """A configuration that is wrong for one start takes nobody's rules away."""
    first = keeper(tmp_path)
    for name in ("hat", "dog"):
        first.add(rule(name, camera="yard"))
    first.save()
    second = keeper(tmp_path, *(rule(str(number)) for number in range(MAX_RULES - 1)), cameras=["door"])
    told = second.describe()[-1]
    assert (told["id"], told["state"]) == ("hat", "unknown") and "no camera 'yard'" in told["reason"]
    second.publish()
    assert [each.id for each in kept.read(tmp_path).rules] == ["hat", "dog"]
    second.remove("hat")
    assert "dog" in second.states  # there is room now
    second.save()
    third = keeper(tmp_path)
    assert third.answered(third.rules[0], YES, time.monotonic()) and third.states == {"dog": "ON"}


def test_topics_of_a_rule_that_is_gone_are_known_until_the_broker_has_cleared_them(tmp_path: Path) -> None:
    """It may be away for longer than one run of the service."""
    keeper(tmp_path, rule("cup")).publish()
    for _ in range(2):
        wire = Wire()
        standing = keeper(tmp_path, wire=wire)
        standing.publish()
        assert {("cup/state", b""), ("cup/attributes", b""), ("cup/snapshot", b"")} <= set(wire.published)
        standing.check(time.monotonic(), interval_s=5)
        standing.save()
        assert kept.read(tmp_path).published == ("cup",)


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


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"rules": [{"id": "a b"}]}', b"[" * 100_000])
def test_a_spoilt_file_is_moved_aside_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    """The service begins without those rules, and whoever looks finds the file."""
    (tmp_path / kept.FILE_NAME).write_bytes(content)
    standing = keeper(tmp_path, rule("cup"))
    assert set(standing.states) == {"cup"}
    assert (tmp_path / f"{kept.FILE_NAME}.spoilt").read_bytes() == content
    standing.add(rule("hat"))
    standing.save()
    assert [each.id for each in kept.read(tmp_path).rules] == ["hat"]


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
