"""The standing rules of a node: what stays, what goes, and what is unknown when."""

from __future__ import annotations

import os
import time
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
from edge_app.rules.keeper import RETRY_FAILED_S, STALE_S, RuleKeeper
from edge_app.rules.rule import MAX_RULES, RuleConfig
from edge_app.settings import MqttConfig, StoreConfig
from edge_app.store.store import Store

YES = Result(type="answer", ts="", status="ok", p_yes=0.9, yes_no_mass=1.0)


def rule(id: str, **values: Any) -> RuleConfig:
    return RuleConfig(id=id, question=f"is there a {id}?", consecutive=1, **values)


def keeper(folder: Path | None, *rules: RuleConfig, allow_snapshots: bool = False) -> RuleKeeper:
    """Its broker is away."""
    topics = Topics("edge_app", "kitchen")
    connection = Connection(MqttConfig(), "kitchen", topics.availability, lambda _: None, Inbox().offer)
    store = Store(None, StoreConfig())
    publisher = Publisher(Session(connection, topics, store.outbox), topics, store.questions, MessageIds())
    return RuleKeeper(rules, ("door", "yard"), publisher, folder, allow_snapshots=allow_snapshots)


def test_what_came_by_mqtt_is_there_again_and_the_file_of_the_configuration_wins(tmp_path: Path) -> None:
    """Also with all their settings; a rule whose id the configuration took, or whose camera is gone, is left out."""
    first = keeper(tmp_path, rule("cup"))
    hat, dog = rule("hat", region=(0.0, 0.0, 0.5, 1.0), cooldown_s=3.5), rule("dog", camera="yard")
    for each in (hat, dog):
        first.add(each)
    second = keeper(tmp_path, rule("cup"))
    assert [told["id"] for told in second.describe()] == ["cup", "hat", "dog"]
    assert kept.read(tmp_path).rules == (hat, dog)
    third = keeper(tmp_path, rule("hat", threshold_on=0.9))
    assert [(told["id"], told["origin"], told["threshold_on"]) for told in third.describe()] == [
        ("hat", "config", 0.9),
        ("dog", "mqtt", 0.8),
    ]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails half-way leaves the old file; the rule works, and what is wrong is said."""
    standing = keeper(tmp_path)
    standing.add(rule("cup"))

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    told = standing.add(rule("hat"))
    assert "No space left on device" in told["problem"]
    assert set(standing.states) == {"cup", "hat"}
    assert [each.id for each in kept.read(tmp_path).rules] == ["cup"]
    monkeypatch.undo()
    assert standing.add(rule("dog"))["problem"] is None
    assert [each.id for each in kept.read(tmp_path).rules] == ["cup", "hat", "dog"]


def test_pictures_need_the_leave_of_the_configuration(tmp_path: Path) -> None:
    """Whoever reaches the broker could else look through the camera; leave that is taken back is so for old rules."""
    asked = rule("hat", snapshot=True)
    with pytest.raises(BadRequestError, match="allow_rule_snapshots"):
        keeper(tmp_path).add(asked)
    allowed = keeper(tmp_path, allow_snapshots=True)
    allowed.add(asked)
    assert allowed.wants_snapshots("door") and not allowed.wants_snapshots("yard")
    assert set(keeper(tmp_path, allow_snapshots=True).states) == {"hat"}
    assert set(keeper(tmp_path).states) == set()
    assert keeper(None, asked).wants_snapshots("door")  # in the file it is the operator's wish


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"rules": [{"id": "a b"}]}', b"[" * 100_000])
def test_a_spoilt_file_is_moved_aside_and_stops_nothing(tmp_path: Path, content: bytes) -> None:
    """The service begins without those rules, and whoever looks finds the file."""
    (tmp_path / kept.FILE_NAME).write_bytes(content)
    standing = keeper(tmp_path, rule("cup"))
    assert set(standing.states) == {"cup"}
    assert (tmp_path / f"{kept.FILE_NAME}.spoilt").read_bytes() == content
    standing.add(rule("hat"))
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
    standing.failed(cup, "The question has too many tokens; shorten it.", 100.0)
    assert standing.states == {"cup": "unknown", "hat": "ON"}
    assert standing.timetable.next_s(["door"], 5) == 100 + RETRY_FAILED_S
    all_on()
    now_s = time.monotonic()
    standing.check(now_s + STALE_S - 1, interval_s=5)
    assert set(standing.states.values()) == {"ON"}
    standing.holds("door", now_s + STALE_S)  # its picture stands still
    standing.check(now_s + STALE_S + 1, interval_s=5)
    assert standing.states == {"cup": "ON", "hat": "unknown"}
    all_on()
    standing.check(time.monotonic() + STALE_S + 1, interval_s=60)  # three of its intervals are longer
    assert set(standing.states.values()) == {"ON"}


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
