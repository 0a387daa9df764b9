"""When placements are measured by themselves: only in quiet, never in the way, and not again and again in vain."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_app.model_client import ModelDown, ModelReady
from edge_app.tuner import AGAIN_S, LIMIT_S, LOOK_S, QUIET_S, RECORD_NAME, Tuner
from tests.broker import wait_until
from tests.standin_worker import lines

HASH = "f" * 64


class Node:
    """A tuner with the stand-in process, a clock, and a model that has been quiet for `quiet_s`."""

    def __init__(self, folder: Path, behaviour: str) -> None:
        self.folder, self.state_dir = folder, folder / behaviour
        self.scratch = folder / "cache" / "measuring"
        self.renewals: list[str] = []
        self.now_s = 1000.0
        self.restart()

    def restart(self) -> None:
        """A new run of the service, with a model that is ready."""
        order = {"state_dir": str(self.state_dir), "scratch_dir": str(self.scratch)}
        self.tuner = Tuner("tests.standin_tuner", order, self.state_dir, step_s=600, renew=self.renewals.append)
        self.ready()

    def ready(self, unmeasured: bool = True) -> None:
        placement = {"picture": "GPU", "text": "GPU", "by": "order", "measurement": None}
        bundle = {"name": "door", "hash": HASH, "folder": str(self.folder), "placement": placement}
        info: dict[str, Any] = {"bundles": [bundle], "unmeasured": [str(self.folder)] if unmeasured else []}
        self.tuner.handle(ModelReady(info))

    @property
    def starts(self) -> int:
        return len(lines(self.folder / "tuner"))

    def poll(self, quiet_s: float, later_s: float = 0.1) -> bool:
        self.now_s += later_s
        return self.tuner.poll(self.now_s, quiet_s)

    def begin(self) -> None:
        """Let it begin, and wait until its process has."""
        before = self.starts
        assert self.poll(QUIET_S * 16, LOOK_S)
        assert self.tuner.state == "measuring"
        wait_until(lambda: self.starts == before + 1, "the measuring process")

    def finish(self) -> None:
        wait_until(lambda: self.poll(QUIET_S), "the end of the measurement")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[[str], Node]]:
    made: list[Node] = []

    def make(behaviour: str) -> Node:
        made.append(Node(tmp_path, behaviour))
        return made[-1]

    yield make
    for each in made:
        each.tuner.stop()


def test_it_begins_after_a_quiet_minute_and_the_model_takes_what_was_found(node: Callable[[str], Node]) -> None:
    """Not before; once; and what was recorded as begun is gone again."""
    door = node("finds")
    assert not door.poll(QUIET_S - 1)
    assert door.tuner.info() == {"state": "waiting", "problem": None}
    door.begin()
    door.finish()
    assert door.renewals == ["to take the placement that was measured as the fastest"]
    assert door.tuner.info() == {"state": "none", "problem": None}
    assert door.tuner.found[HASH]["text"] == "CPU"
    assert not (door.state_dir / RECORD_NAME).exists()
    door.poll(QUIET_S, LOOK_S)
    assert (door.starts, door.tuner.state) == (1, "none")


def test_the_placement_in_use_being_the_best_renews_nothing(node: Callable[[str], Node]) -> None:
    """The measurement is told all the same."""
    door = node("same")
    door.begin()
    door.finish()
    assert door.renewals == []
    assert door.tuner.found[HASH]["measurement"]["trials"]


def test_work_ends_it_at_once_and_the_next_attempt_waits_twice_as_long(node: Callable[[str], Node]) -> None:
    """Its process is gone with that very turn, and so is its folder of compiled graphs; that is no failure."""
    door = node("hangs")
    for needed_s in (QUIET_S, 2 * QUIET_S, 4 * QUIET_S):
        assert not door.poll(needed_s - 1, LOOK_S)
        assert door.poll(needed_s, LOOK_S)
        wait_until(lambda: lines(door.folder / "tuner"), "the measuring process")
        pid = lines(door.folder / "tuner")[-1]
        door.scratch.mkdir(parents=True)
        assert door.poll(0.0)
        assert not Path(f"/proc/{pid}").exists()
        assert not door.scratch.exists()
        assert door.tuner.info() == {"state": "waiting", "problem": None}
        (door.folder / "tuner").unlink()
    assert not (door.state_dir / RECORD_NAME).exists()


def test_a_model_that_ends_ends_it(node: Callable[[str], Node]) -> None:
    """Whatever it found would be about a model that is not there."""
    door = node("hangs")
    door.begin()
    door.tuner.handle(ModelDown("Killed.", hopeful=True))
    assert door.poll(0.0)
    assert door.tuner.state == "none"
    door.poll(QUIET_S * 16, LOOK_S)
    assert door.starts == 1


@pytest.mark.parametrize(
    ("behaviour", "words"), [("fails", "No device can run the model."), ("crashes", "was ended by SIGSEGV")]
)
def test_a_failure_is_told_and_not_repeated_within_a_day(
    node: Callable[[str], Node], behaviour: str, words: str
) -> None:
    """Not by the next run of the service either; after a day it is."""
    door = node(behaviour)
    door.begin()
    door.finish()
    assert door.tuner.state == "failed"
    assert words in (door.tuner.problem or "")
    door.poll(QUIET_S * 16, LOOK_S)
    door.restart()
    assert door.tuner.state == "failed" and words in (door.tuner.problem or "")
    door.poll(QUIET_S * 16, LOOK_S)
    assert door.starts == 1
    record = json.loads((door.state_dir / RECORD_NAME).read_bytes())
    (door.state_dir / RECORD_NAME).write_text(json.dumps(record | {"begun_unix_s": time.time() - AGAIN_S - 1}))
    door.begin()


def test_an_attempt_that_ended_the_machine_is_not_repeated_at_each_boot(node: Callable[[str], Node]) -> None:
    """The record is there before the process is."""
    door = node("hangs")
    door.begin()
    record = (door.state_dir / RECORD_NAME).read_bytes()
    door.tuner.stop()
    assert not (door.state_dir / RECORD_NAME).exists(), "an end in order is no failure"
    (door.state_dir / RECORD_NAME).write_bytes(record)
    door.restart()
    assert door.tuner.info() == {
        "state": "failed",
        "problem": "The attempt was cut off: the service or the machine ended.",
    }
    door.poll(QUIET_S * 16, LOOK_S)
    assert door.starts == 1


def test_another_bundle_has_an_attempt_of_its_own(node: Callable[[str], Node]) -> None:
    """What failed with one says nothing of the next."""
    door = node("fails")
    door.begin()
    door.finish()
    record = json.loads((door.state_dir / RECORD_NAME).read_bytes())
    (door.state_dir / RECORD_NAME).write_text(json.dumps(record | {"bundles": ["0" * 64]}))
    door.ready()
    assert door.tuner.info() == {"state": "waiting", "problem": None}


def test_a_process_that_hangs_has_an_end(node: Callable[[str], Node]) -> None:
    """Each of its steps has the time of a step of loading, and all together half an hour."""
    door = node("hangs")
    door.begin()
    door.poll(QUIET_S)
    assert door.poll(QUIET_S, LIMIT_S)
    assert door.tuner.state == "failed"
    assert (door.tuner.problem or "").endswith("took more than 1800 s, and was killed.")
    door = node("hangs")
    (door.state_dir / RECORD_NAME).unlink()
    door.ready()
    door.begin()
    door.poll(QUIET_S)
    assert door.poll(QUIET_S, 601)
    assert (door.tuner.problem or "").endswith("was not ready after 600 s of measuring, and was killed.")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"v": 2}', b'{"bundles": 1}'])
def test_a_decayed_record_is_no_record(node: Callable[[str], Node], content: bytes) -> None:
    """At worst it is tried once more."""
    door = node("hangs")
    door.state_dir.mkdir()
    (door.state_dir / RECORD_NAME).write_bytes(content)
    door.ready()
    assert door.tuner.state == "waiting"


def test_a_state_folder_that_cannot_be_written_is_told_and_nothing_begins(node: Callable[[str], Node]) -> None:
    """Without a record it might be repeated for ever."""
    door = node("finds")
    door.state_dir.write_text("", encoding="utf-8")
    door.ready()
    assert door.poll(QUIET_S, LOOK_S)
    assert "Nothing can be written" in (door.tuner.problem or "")
    door.poll(QUIET_S * 16, LOOK_S)
    assert door.starts == 0


def test_nothing_to_measure_is_no_work(node: Callable[[str], Node]) -> None:
    """One device, a device that the configuration names, or a choice that holds."""
    door = node("finds")
    door.ready(unmeasured=False)
    door.poll(QUIET_S * 16, LOOK_S)
    assert (door.starts, door.tuner.info()) == (0, {"state": "none", "problem": None})
