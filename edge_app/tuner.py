"""Has the placements of the bundles measured by a process of its own, in a minute in which the model has nothing to do.

`edge-app bundle install` measures, too; this is for a node whose bundle came another way, or was measured with another
version of OpenVINO or other devices. Serving goes first: the process is killed as soon as there is work, and the next
attempt waits twice as long. What fails is not tried again within a day, not by the next service either.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_app.child import Child
from edge_app.durable import replace_text
from edge_app.errors import ChildDiedError
from edge_app.model_client import ModelDown, ModelEvent, ModelReady
from edge_app.placement_words import is_full_rate
from edge_app.settings import Config
from edge_app.start_deadline import StartDeadline
from edge_app.state import state_folder
from edge_app.trial_load import tuner_order

QUIET_S = 60.0  # without work, before the first attempt
AGAIN_S = 86_400.0  # after a failure
LIMIT_S = 1800.0  # of one attempt
LOOK_S = 60.0  # between two looks at whether there may be an attempt
RECORD_NAME = "tuning.json"
SCRATCH = "measuring"  # folder of compiled graphs for the time of an attempt, in that of the service
STOP_S = 0.5

log = logging.getLogger(__name__)

State = Literal["none", "waiting", "measuring", "failed"]


class Record(BaseModel):
    """The attempt that began last, written before it does: one that ends the machine is not repeated at each boot."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    v: Literal[1] = 1
    bundles: tuple[str, ...]
    """Hashes."""
    begun_unix_s: float
    problem: str


class Tuner:
    """Decides when to measure, and looks after the process. Called by the service's main thread alone."""

    @classmethod
    def of(cls, config: Config, module: str, renew: Callable[[str], None]) -> Tuner:
        """Make the one of a service with these settings."""
        model = config.model
        order = {
            **tuner_order(model, [], full_rate=is_full_rate(config)),
            "scratch_dir": str(model.cache_dir / SCRATCH) if model.cache_dir else None,
            "log_level": config.log.level,
        }
        return cls(module, order, state_folder(model.state_dir), step_s=model.start_timeout_s, renew=renew)

    def __init__(
        self,
        module: str,
        order: dict[str, Any],
        state_dir: Path,
        *,
        step_s: float,
        renew: Callable[[str], None],
    ) -> None:
        """Measure nothing yet.

        Args:
            module: the module that is run as the measuring process.
            order: what that process is told, without the bundles.
            state_dir: where the choice is kept, and the record of the last attempt.
            step_s: what a single step of the process may take.
            renew: called when another placement than the one in use was found to be faster.
        """
        self.state: State = "none"
        self.problem: str | None = None
        self.found: dict[str, dict[str, Any]] = {}  # bundle hash -> its placement as it was measured
        self._order, self._record_path, self._step_s, self._renew = order, state_dir / RECORD_NAME, step_s, renew
        self._module = module
        self._child: Child | None = None
        self._deadline: StartDeadline | None = None
        self._limit_s = 0.0
        self._quiet_s, self._look_s = QUIET_S, 0.0
        self._folders: tuple[str, ...] = ()
        self._bundles: list[dict[str, Any]] = []  # of `info`

    def handle(self, event: ModelEvent) -> None:
        """Note what is there to measure, with each process of the model that is ready."""
        if isinstance(event, ModelDown):
            self._folders = ()
        elif isinstance(event, ModelReady):
            self._bundles = event.info.get("bundles", [])
            self._folders = tuple(event.info.get("unmeasured", ()))
            self.found = {}
            problem = self._recent_problem() if self._folders else None
            self._say("failed" if problem else "waiting" if self._folders else "none", problem)

    def poll(self, now_s: float, quiet_s: float) -> bool:
        """Look after it; `quiet_s` is how long the model has had nothing to do. Tell whether `info` changes."""
        before = self.state, self.problem
        if self._child is not None:
            self._watch(self._child, now_s, quiet_s)
        elif self._folders and quiet_s >= self._quiet_s and now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            if (problem := self._recent_problem()) is None:
                self._begin(now_s)
            else:
                self._say("failed", problem)
        return (self.state, self.problem) != before

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End the process, if there is one; what is interrupted has not failed."""
        if self._child is not None:
            self._child.stop(timeout_s)
            self._end()
            self._record_path.unlink(missing_ok=True)

    def info(self) -> dict[str, Any]:
        """For `info`: whether placements are measured, and if not, why."""
        return {"state": self.state, "problem": self.problem}

    def _recent_problem(self) -> str | None:
        """Return why an attempt for these bundles has failed within a day, also of an earlier run of the service."""
        try:
            record = Record.model_validate_json(self._record_path.read_bytes())
        except (OSError, ValidationError):
            return None
        # A clock that went back to before the attempt says nothing; one that runs says when a day is over.
        is_over = not 0 <= time.time() - record.begun_unix_s < AGAIN_S
        return None if is_over or set(record.bundles) != set(self._hashes()) else record.problem

    def _hashes(self) -> Sequence[str]:
        return [str(bundle["hash"]) for bundle in self._bundles if bundle.get("folder") in self._folders]

    def _begin(self, now_s: float) -> None:
        try:
            self._note("The attempt was cut off: the service or the machine ended.")
        except OSError as error:
            self._fail(f"Nothing can be written to {self._record_path.parent} ({error.strerror}).")
            return
        self._child = Child("tuner", self._module, hello={**self._order, "bundles": list(self._folders)})
        try:
            self._child.start()
        except ChildDiedError as error:
            self._fail(str(error))
            return
        self._deadline, self._limit_s = StartDeadline(self._step_s, now_s), now_s + LIMIT_S
        log.info("placements measured: begin pid=%s bundles=%d", self._child.pid, len(self._folders))
        self._say("measuring", None)

    def _watch(self, child: Child, now_s: float, quiet_s: float) -> None:
        assert self._deadline is not None
        is_alive = child.is_alive()
        for event in child.poll():
            if event["event"] == "ready":
                self._succeed(event["found"])
                return
            if event["event"] == "failed":
                self._fail(str(event["reason"]))
                return
            self._deadline.note(event, now_s)
        if not is_alive:
            self._fail(f"The process that measured {child.exit_reason}.")
        elif quiet_s == 0 or not self._folders:
            child.kill()
            self._quiet_s *= 2
            log.info("placements measured: interrupted by work, again after quiet_s=%.0f", self._quiet_s)
            self._record_path.unlink(missing_ok=True)
            self._end()
            self._say("waiting" if self._folders else "none", None)
        elif self._deadline.is_over(now_s) or now_s > self._limit_s:
            child.kill()
            limit = f"was {self._deadline.words}" if now_s <= self._limit_s else f"took more than {LIMIT_S:g} s"
            self._fail(f"The process that measured {limit}, and was killed.")

    def _succeed(self, found: Sequence[dict[str, Any]]) -> None:
        self.stop()
        self.found = {str(each["hash"]): each["placement"] for each in found}
        self._folders = ()
        used = {str(bundle.get("hash")): bundle.get("placement", {}) for bundle in self._bundles}
        differs = False
        for bundle_hash, best in self.found.items():
            old = used.get(bundle_hash, {})
            is_same = (old.get("picture"), old.get("text")) == (best["picture"], best["text"])
            differs |= not is_same
            log.info("placements measured: picture=%s text=%s change=%s", best["picture"], best["text"], not is_same)
        self._say("none", None)
        if differs:
            self._renew("to take the placement that was measured as the fastest")

    def _fail(self, problem: str) -> None:
        self._end()
        log.warning("placements not measured reason=%r", problem)
        try:
            self._note(problem)
        except OSError:  # then this run of the service at least does not repeat it
            self._folders = ()
        self._say("failed", problem)

    def _note(self, problem: str) -> None:
        record = Record(bundles=tuple(self._hashes()), begun_unix_s=time.time(), problem=problem)
        replace_text(self._record_path, record.model_dump_json(indent=1) + "\n")

    def _end(self) -> None:
        """Forget the process, and remove what it compiled for itself."""
        if self._child is not None:
            self._child.stop(STOP_S)
        self._child = None
        if scratch := self._order.get("scratch_dir"):
            shutil.rmtree(scratch, ignore_errors=True)

    def _say(self, state: State, problem: str | None) -> None:
        self.state, self.problem = state, problem
