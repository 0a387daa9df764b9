"""A new version stays if it serves, and goes if it does not; the times are handed in, nothing waits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_app.bundles.probation import DEATHS, PROBATION_S, READY_WITHIN_S, Probation, Record, read_record, take_back
from edge_app.bundles.store import CURRENT, PREVIOUS, Slot
from edge_app.model_client import ModelDown, ModelReady, ModelStage

OLD, NEW = "door-0000000000000001", "door-0000000000000002"


class Service:
    """The service as far as Probation sees it: an installed bundle, a model's process, a clock."""

    def __init__(self, slot: Slot) -> None:
        self.slot, self.now_s, self.renewals = slot, 1000.0, 0
        self.restart()

    def restart(self) -> None:
        """The service itself starts anew and has forgotten what it counted."""
        self.probation = Probation([self.slot.folder / CURRENT], self._renew)

    def _renew(self) -> None:
        self.renewals += 1

    def ready(self) -> None:
        """The model's process is ready with what `current` leads to."""
        folder = str((self.slot.folder / CURRENT).resolve())
        self.probation.handle(ModelReady({"bundles": [{"folder": folder}]}), self.now_s)

    def dies(self, *, was_ready: bool = True, asked: bool = False) -> None:
        self.probation.handle(ModelDown("Segmentation fault.", was_ready, asked), self.now_s)

    def later(self, seconds: float = 1.0) -> list[str]:
        """Time passes; the versions that were rolled back in it."""
        end_s = self.now_s + seconds
        told = []
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + 1.0)
            told += [each.failed for each in self.probation.check(self.now_s)]
        return told


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    slot = Slot(tmp_path / "door")
    for version in (OLD, NEW):
        slot.path(version).mkdir(parents=True)
    slot.switch(OLD)
    yield Service(slot)


def test_the_model_is_renewed_once_when_the_link_is_switched(service: Service) -> None:
    """Within a second, and not again while the new process starts; that it is asked to end counts as no death."""
    service.ready()
    service.later(5)
    assert service.renewals == 0
    service.slot.switch(NEW)
    service.later(1)
    assert service.renewals == 1
    for _ in range(DEATHS):
        service.dies(asked=True)
    assert not service.later(5)
    service.ready()
    service.later(5)
    assert (service.renewals, service.slot.current) == (1, NEW)


def test_three_deaths_of_a_new_version_bring_the_old_one_back(service: Service) -> None:
    """Whether the process is refused at its start or ends later; it is told once, with the last reason."""
    service.slot.switch(NEW)
    service.dies(was_ready=False)
    service.ready()
    service.dies()
    assert not service.later(5)
    service.dies(was_ready=False)
    assert service.later(1) == [NEW]
    assert (service.slot.current, service.slot.previous) == (OLD, NEW)
    assert service.renewals == 1
    (told,) = service.probation.rolled_back
    assert told["reason"] == "the model's process ended 3 times, at last: Segmentation fault."
    assert (told["failed"], told["restored"]) == (NEW, OLD)
    service.restart()
    service.later(1)
    assert service.probation.rolled_back == [told]


def test_a_version_that_is_never_ready_is_gone_within_five_minutes(service: Service) -> None:
    """A process that hangs at its start dies only at its deadline, so time counts as well."""
    service.slot.switch(NEW)
    assert not service.later(READY_WITHIN_S)
    assert service.later(5) == [NEW]
    assert service.slot.current == OLD


def test_a_version_that_gets_further_is_waited_for(service: Service) -> None:
    """A first compilation of many graphs, each within its time; a step that was reached before is no progress."""
    service.slot.switch(NEW)
    for number in range(4):
        assert not service.later(READY_WITHIN_S - 10)
        service.probation.handle(ModelStage(f"compiling graph {number}"), service.now_s)
    service.dies(was_ready=False)
    for number in range(4):
        assert not service.later(30)
        service.probation.handle(ModelStage(f"compiling graph {number}"), service.now_s)
    assert service.later(READY_WITHIN_S - 110) == [NEW]


def test_a_version_that_was_rolled_back_to_stays(service: Service) -> None:
    """Else two versions that both die, because the camera or the GPU is at fault, would change places for ever."""
    service.slot.switch(NEW)
    for _ in range(DEATHS):
        service.dies()
    service.later(1)
    for _ in range(2 * DEATHS):
        service.dies()
    assert not service.later(2 * READY_WITHIN_S)
    service.restart()
    for _ in range(2 * DEATHS):
        service.dies()
    assert not service.later(2 * READY_WITHIN_S)
    assert service.slot.current == OLD


def test_a_version_that_served_is_proven_and_stays(service: Service) -> None:
    """After ten minutes of serving deaths are no longer the bundle's fault, in the next life of the service neither."""
    service.slot.switch(NEW)
    service.dies()
    service.dies()
    service.ready()
    service.later(PROBATION_S + 2)
    service.dies()
    service.restart()
    for _ in range(DEATHS):
        service.dies()
    assert not service.later(READY_WITHIN_S + 5)
    assert (service.slot.current, read_record(service.slot)) == (NEW, Record(proven=NEW))


def test_a_death_begins_the_ten_minutes_anew(service: Service) -> None:
    """A version that dies every nine minutes is not proven, and is gone at its third death."""
    service.slot.switch(NEW)
    for _ in range(DEATHS - 1):
        service.ready()
        assert not service.later(PROBATION_S - 60)
        service.dies()
    service.ready()
    assert not service.later(60)
    assert read_record(service.slot).proven is None
    service.dies()
    assert service.later(1) == [NEW]


def test_deaths_of_the_version_before_do_not_count(service: Service) -> None:
    """The process that still ran the old version when the link was switched is no witness against the new one."""
    service.ready()
    service.slot.switch(NEW)
    service.dies()
    service.dies()
    service.dies()
    assert not service.later(1)  # the first had loaded the old one
    service.dies()
    assert service.later(1) == [NEW]


def test_the_first_version_has_nothing_to_go_back_to(service: Service) -> None:
    """It is tried again and again, as a bundle that was put there by hand is."""
    for _ in range(2 * DEATHS):
        service.dies(was_ready=False)
    assert not service.later(2 * READY_WITHIN_S)
    assert service.slot.current == OLD


def test_what_a_person_takes_back_is_not_on_probation(service: Service) -> None:
    """Nobody wants the version back that they have just left."""
    service.slot.switch(NEW)
    service.later(1)
    take_back(service.slot)
    for _ in range(DEATHS):
        service.dies()
    assert not service.later(READY_WITHIN_S + 5)
    assert service.slot.current == OLD


def test_a_folder_that_cannot_be_written_is_told_once(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A disk that went read-only: the version that fails stays, and the service goes on. Here a folder bars it."""
    service.slot.switch(NEW)
    (service.slot.folder / ".probation.json.part").mkdir()
    for _ in range(DEATHS):
        service.dies()
    assert not service.later(60)
    assert service.slot.current == NEW
    assert [record.message for record in caplog.records if "not rolled back" in record.message][1:] == []
    assert "bundle not rolled back" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"proven": 1}', b'{"more": 1}'])
def test_a_decayed_record_is_no_record(service: Service, content: bytes) -> None:
    """At worst a version is tried anew."""
    (service.slot.folder / "probation.json").write_bytes(content)
    assert read_record(service.slot) == Record()


def test_folders_that_are_no_link_are_left_alone(tmp_path: Path) -> None:
    """A bundle that was put there by hand: no slot, no renewal, no rollback."""
    folder = tmp_path / "by-hand"
    folder.mkdir()
    asked: list[str] = []
    probation = Probation([folder], lambda: asked.append("renew"))
    probation.handle(ModelReady({"bundles": [{"folder": str(folder)}]}), 0.0)
    for _ in range(DEATHS):
        probation.handle(ModelDown("Killed.", True), 1.0)
    assert (probation.check(2.0), asked, [path.name for path in tmp_path.iterdir()]) == ([], [], ["by-hand"])
    assert not (tmp_path / PREVIOUS).exists()
