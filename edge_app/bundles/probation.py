"""A new bundle is on probation until it has served for a while; if it fails before that, the one before it is back.

The service asks once a second. What must outlive it, which version has proven itself and what was rolled back and why,
is `probation.json` beside the versions; how often the model's process died is counted anew by each service.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_app.bundles.store import CURRENT, Slot
from edge_app.durable import replace_text
from edge_app.errors import BundleError
from edge_app.messages import rfc3339
from edge_app.model_client import ModelDown, ModelEvent, ModelReady, ModelStage

RECORD_NAME = "probation.json"
DEATHS = 3  # of the model's process: one may be chance
# From the switch, or from the last step of loading that no process had reached before; with what it takes to go back
# that is less than 5 minutes.
READY_WITHIN_S = 240.0
PROBATION_S = 600.0  # of serving without a death
CHECK_S = 1.0

log = logging.getLogger(__name__)


class RolledBack(BaseModel):
    """What was rolled back by itself: two versions, the reason as part of a sentence, the time in RFC 3339."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    failed: str
    restored: str
    reason: str
    ts: str


class Record(BaseModel):
    """The content of `probation.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    proven: str | None = None
    rolled_back: RolledBack | None = None


def read_record(slot: Slot) -> Record:
    """What is known of a slot; nothing where the file is missing or decayed: then the current version is tried anew."""
    try:
        return Record.model_validate_json((slot.folder / RECORD_NAME).read_bytes())
    except (OSError, ValidationError):
        return Record()


def write_record(slot: Slot, record: Record) -> None:
    """Keep what is known, whole or not at all; OSError when it cannot be."""
    replace_text(slot.folder / RECORD_NAME, record.model_dump_json(indent=1) + "\n")


def take_back(slot: Slot, told: RolledBack | None = None) -> tuple[str, str]:
    """Go back to the previous version, which needs no probation: behind it there is only what was left: (from, to).

    Raises BundleError when there is none, OSError when the folder cannot be written.
    """
    if slot.previous is not None:
        write_record(slot, Record(proven=slot.previous, rolled_back=told))
    return slot.roll_back(failed=told.failed if told else None)


@dataclass
class _Watched:
    """A slot, and how its current version has done since `since_s` (monotonic clock).

    `stages` are the steps of loading that were reached with it, `reached_s` is when the last of them was.
    """

    slot: Slot
    version: str | None = None
    since_s: float = 0.0
    reached_s: float = 0.0
    stages: set[str] = field(default_factory=set)
    deaths: int = 0
    last_reason: str = ""
    on_probation: bool = False
    record: Record = field(default_factory=Record)

    def look(self, now_s: float) -> None:
        """Begin anew with a version that is seen for the first time."""
        version = self.slot.current
        if version != self.version:
            self.version, self.since_s, self.deaths, self.last_reason = version, now_s, 0, ""
            self.reached_s, self.stages = now_s, set()
            self.record = read_record(self.slot)
            self.on_probation = self.slot.previous is not None and self.record.proven != version

    def reach(self, stage: str, now_s: float) -> None:
        """Note a step of loading; one that a process before had reached, too, is no progress."""
        if stage not in self.stages:
            self.stages.add(stage)
            self.reached_s = now_s

    def folder(self) -> str:
        """Where the current version is, as the model's process tells it."""
        return os.path.realpath(self.slot.path(self.version or CURRENT))


class Probation:
    """Watches the installed bundles among those of the configuration. Called by the service's main thread alone."""

    def __init__(
        self, folders: Sequence[Path], renew: Callable[[], None], *, ready_within_s: float = READY_WITHIN_S
    ) -> None:
        """Watch `folders`, the setting `model.bundles`.

        Args:
            folders: those that are a link `current` are watched; the others cannot change.
            renew: called when the model's process runs another version than the links lead to.
            ready_within_s: longest wait for a new version to be ready, or to get further than it had.
        """
        self._folders = tuple(folders)
        self._renew = renew
        self._ready_within_s = ready_within_s
        self._watched = [_Watched(Slot(folder.parent)) for folder in folders if folder.name == CURRENT]
        self._running: list[str] | None = None  # folders that the model's process loaded; None while it is not ready
        self._ready_s = 0.0
        self._next_s = 0.0

    @property
    def rolled_back(self) -> list[dict[str, str]]:
        """For `info`: the last automatic rollback of each bundle, until another version has proven itself."""
        return [told.model_dump() for watched in self._watched if (told := watched.record.rolled_back) is not None]

    def handle(self, event: ModelEvent, now_s: float) -> None:
        """Note how the model's process does."""
        if isinstance(event, ModelReady):
            self._running = [str(bundle["folder"]) for bundle in event.info.get("bundles", []) if "folder" in bundle]
            self._ready_s = now_s
        elif isinstance(event, ModelStage):
            for watched in self._watched:
                watched.look(now_s)
                watched.reach(event.stage, now_s)
        elif isinstance(event, ModelDown):
            ran, self._running = self._running, None
            for watched in self._watched:
                watched.look(now_s)
                # The end of a process that still had another version, or that was asked to end, is no fault of this.
                if not event.asked and (ran is None or watched.folder() in ran):
                    watched.deaths += 1
                    watched.last_reason = event.reason

    def check(self, now_s: float) -> list[RolledBack]:
        """Look after the bundles, once a second; what was rolled back just now."""
        if now_s < self._next_s:
            return []
        self._next_s = now_s + CHECK_S
        told = []
        for watched in self._watched:
            watched.look(now_s)
            if not watched.on_probation:
                continue
            if reason := self._failure(watched, now_s):
                told += self._take_back(watched, reason, now_s)
            elif self._running is not None and now_s - max(self._ready_s, watched.since_s) >= PROBATION_S:
                self._acquit(watched)
        if self._running and self._running != [os.path.realpath(folder) for folder in self._folders]:
            self._running = None
            self._renew()
        return told

    def _failure(self, watched: _Watched, now_s: float) -> str | None:
        """Why a version is not to be kept, as part of a sentence; None as long as it may be."""
        if watched.deaths >= DEATHS:
            return f"the model's process ended {watched.deaths} times, at last: {watched.last_reason}"
        if self._running is None and now_s - watched.reached_s > self._ready_within_s:
            return f"it was not ready within {self._ready_within_s:g} s. {watched.last_reason}".rstrip()
        return None

    def _take_back(self, watched: _Watched, reason: str, now_s: float) -> list[RolledBack]:
        slot, failed, restored = watched.slot, watched.version, watched.slot.previous
        watched.on_probation = False  # whatever comes of it, once is enough
        if failed is None or restored is None:
            return []
        told = RolledBack(name=slot.name, failed=failed, restored=restored, reason=reason, ts=rfc3339(time.time()))
        try:
            take_back(slot, told)
        except BlockingIOError:  # somebody installs or prunes: in a second again
            watched.on_probation = True
            return []
        except (BundleError, OSError) as error:
            log.error(
                "bundle not rolled back name=%s version=%s reason=%r problem=%s", slot.name, failed, reason, error
            )
            return []
        log.error("bundle rolled back name=%s from=%s to=%s reason=%r", slot.name, failed, restored, reason)
        watched.look(now_s)
        if self._running is None:
            self._renew()  # what is starting, or waits for its turn, is the version that failed
        return [told]

    def _acquit(self, watched: _Watched) -> None:
        watched.record, watched.on_probation = Record(proven=watched.version), False
        log.info("bundle proven name=%s version=%s", watched.slot.name, watched.version)
        try:
            write_record(watched.slot, watched.record)
        except OSError as error:  # a full or read-only disk: at the next start it is on probation again
            log.warning("probation not kept name=%s reason=%s", watched.slot.name, error)
