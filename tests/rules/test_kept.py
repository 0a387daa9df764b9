"""Rules that came by MQTT, on the disk: there again after a restart, whatever the disk and the configuration do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from edge_app.rules import kept
from edge_app.rules.rule import MAX_RULES
from tests.rules.harness import YES, Wire, keeper, rule


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
