"""The standing rules of a node: added and removed, judged by their answers, and published.

Those of the configuration file are the operator's: a message can neither replace nor remove them. Those that come by
MQTT are kept on the disk. Owned by the main thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_app.errors import BadRequestError
from edge_app.messages import Result, rfc3339
from edge_app.publisher import Publisher
from edge_app.rules.judge import NO_ANSWER, Judge, State
from edge_app.rules.kept import RuleFile
from edge_app.rules.rule import MAX_RULES, RuleConfig
from edge_app.rules.standing import Origin, Standing
from edge_app.rules.timetable import Timetable

RETRY_FAILED_S = 600.0  # a rule that the model refuses, or dies on, is left alone for so long
STALE_S = 60.0  # without an answer for so long, or for three intervals, a state is of the past
RETRY_DISK_S = 60.0  # what the disk did not give, or take, is tried again so often

EVENT_KEYS = ("id", "question", "camera", "p_yes", "frame_id", "frame_ts")

log = logging.getLogger(__name__)


class RuleKeeper:
    """All standing rules, and the timetable by which they are asked."""

    def __init__(
        self,
        rules: Sequence[RuleConfig],
        cameras: Sequence[str],
        publisher: Publisher,
        folder: Path | None,
        *,
        allow_snapshots: bool = False,
    ) -> None:
        """Begin with the rules of the configuration, and with those that were kept.

        Args:
            rules: those of the configuration.
            cameras: the names of all cameras, each offline until `camera_online`; rules that name none are about the
                first one.
            publisher: where states, attributes and events go.
            folder: the state folder; None keeps nothing.
            allow_snapshots: whether rules that come by MQTT may publish pictures.
        """
        self.timetable = Timetable()
        self._cameras, self._publisher = tuple(cameras), publisher
        self._allow_snapshots = allow_snapshots
        self._standing: dict[str, Standing] = {}
        self._offline: dict[str, str] = {}  # camera: why nothing is known about it, as a sentence
        self._model_problem: str | None = None
        self._file = RuleFile(folder)
        self._changed = False  # and not on the disk yet
        self._disk_again_s = 0.0
        self._left_out: list[RuleConfig] = []  # kept on the disk, but one too many at present
        self._gone: dict[str, None] = {}  # ids whose retained topics the broker has not forgotten yet, oldest first
        for camera in cameras:
            self.camera_offline(camera, "no frame yet")
        for rule in rules:
            self._put(rule, "config")
        self._read()

    @property
    def rules(self) -> list[RuleConfig]:
        """Every rule, as it is in force."""
        return [standing.rule for standing in self._standing.values()]

    @property
    def states(self) -> dict[str, State]:
        """The state of each rule."""
        return {id: standing.judge.state for id, standing in self._standing.items()}

    @property
    def problem(self) -> str | None:
        """Why rules that came by MQTT are not on the disk, as far as is known since `save`; None while they are."""
        return self._file.problem

    def describe(self) -> list[dict[str, Any]]:
        """Every rule as its attributes have it."""
        return [self._attributes(standing) for standing in self._standing.values()]

    def publish(self) -> None:
        """Publish all rules."""
        self.save()  # first: what the broker has is known to the next run, which clears what is no more
        for standing in self._standing.values():
            self._begin(standing)

    def add(self, rule: RuleConfig) -> dict[str, Any]:
        """Add or replace a rule that came by MQTT, on the disk from `save` on; its attributes. BadRequestError."""
        known = self._standing.get(rule.id)
        if known is not None and known.origin == "config":
            raise BadRequestError(f"The rule {rule.id!r} is in the configuration file; change it there.")
        if known is None and len(self._standing) >= MAX_RULES:
            raise BadRequestError(f"There are {MAX_RULES} rules, which is the limit; remove one.")
        if rule.snapshot and not self._allow_snapshots:
            raise BadRequestError(
                "Pictures are not published on demand; leave snapshot out, or set mqtt.allow_rule_snapshots = true."
            )
        if rule.camera is not None and rule.camera not in self._cameras:
            raise BadRequestError(f"There is no camera {rule.camera!r}; there are {', '.join(self._cameras)}.")
        if known is None or known.made != rule:  # the same again is no reason to forget a state
            standing = self._put(rule, "mqtt")
            self._begin(standing, replaces=known is not None)
            log.info("rule added id=%s camera=%s", rule.id, standing.camera)
        self._changed = True  # or whoever repeats it is told of a problem with the disk that has passed
        return self._attributes(self._standing[rule.id])

    def remove(self, rule_id: str) -> dict[str, Any]:
        """Remove a rule that came by MQTT, and its retained topics; on the disk from `save` on. BadRequestError."""
        known = self._standing.get(rule_id)
        if known is None:
            raise BadRequestError(f"There is no rule {rule_id!r}; request/rule/list tells which there are.")
        if known.origin == "config":
            raise BadRequestError(f"The rule {rule_id!r} is in the configuration file; remove it there.")
        del self._standing[rule_id]
        self.timetable.remove(rule_id)
        self._forget(rule_id)
        log.info("rule removed id=%s", rule_id)
        for standing in self._take_up():
            self._begin(standing)
        return {"id": rule_id}

    def save(self) -> None:
        """Bring what has changed to the disk; once for all that a turn brought, because it waits for the disk twice."""
        if self._changed:
            self._changed = False
            mine = [standing.made for standing in self._standing.values() if standing.origin == "mqtt"]
            self._file.write([*mine, *self._left_out], [*self._gone, *self._standing])

    def answered(self, rule: RuleConfig, result: Result, now_s: float) -> bool:
        """Take an answer to a rule; True if it made an event, which has been published."""
        standing = self.standing(rule)
        if standing is None:
            return False  # removed or replaced while it was asked
        if standing.camera in self._offline:
            return False  # what it saw is of the past
        standing.result, standing.fresh_s, standing.refusal = result, now_s, None
        event = standing.judge.judge(result.p_yes, result.yes_no_mass, now_s)
        self._tell(standing, anew=True)
        if event is None:
            return False
        told = self._attributes(standing)
        self._publisher.event(event, {key: told[key] for key in EVENT_KEYS})
        return True

    def wants_snapshots(self, camera: str) -> bool:
        """Whether the model's process is to keep the pixels of the frames that rules about a camera are about."""
        return any(standing.rule.snapshot for standing in self._standing.values() if standing.camera == camera)

    def pictured(self, rule: RuleConfig, jpeg: bytes) -> None:
        """Publish what a rule saw when it turned."""
        if self.standing(rule):
            self._publisher.rule_snapshot(rule.id, jpeg)

    def failed(self, rule: RuleConfig, reason: str, now_s: float) -> None:
        """The model refuses a rule, or dies on it: it is left alone for a while."""
        if standing := self.standing(rule):
            self.timetable.bar(rule.id, now_s + RETRY_FAILED_S)
            log.warning("rule failed id=%s reason=%r", rule.id, reason)
            standing.refusal = reason
            self._lose(standing)

    def camera_offline(self, camera: str, problem: str) -> None:
        """Nobody knows what a camera would show that is offline; `problem` says why it is."""
        reason = f"The camera is offline: {problem.rstrip('.')}."
        if self._offline.get(camera) != reason:
            self._offline[camera] = reason
            for standing in self._about(camera):
                self._lose(standing)

    def camera_online(self, camera: str) -> None:
        """From now on answers about a camera count."""
        if self._offline.pop(camera, None):
            for standing in self._about(camera):
                self._tell(standing)

    def model_failed(self, reason: str) -> None:
        """No rule is answered until `model_ready`."""
        self._model_problem = f"The model cannot start: {reason}"
        for standing in self._standing.values():
            self._lose(standing)

    def model_ready(self) -> None:
        """The model runs; what it answers comes."""
        self._model_problem = None
        for standing in self._standing.values():
            self._tell(standing)

    def standing(self, rule: RuleConfig) -> Standing | None:
        """What is known of a rule; None if it has been removed or replaced meanwhile."""
        standing = self._standing.get(rule.id)
        return standing if standing is not None and standing.rule is rule else None

    def check(self, now_s: float, interval_s: float) -> None:
        """Do what is due; call states of the past unknown. `interval_s` is that of rules without one of their own."""
        for standing in self._standing.values():
            own_s = standing.rule.interval_s
            limit_s = max(STALE_S, 3 * (interval_s if own_s is None else own_s))
            if self._outage(standing):
                standing.fresh_s = now_s  # that it is not answered meanwhile goes without saying
            elif now_s - standing.fresh_s > limit_s:
                self._lose(standing, f"It has not been answered for {limit_s:g} s.")
        for cleared in [id for id in self._gone if self._publisher.has_forgotten_rule(id)]:
            del self._gone[cleared]
            self._changed = True
        if self.problem and now_s >= self._disk_again_s:
            self._disk_again_s = now_s + RETRY_DISK_S
            if not self._file.is_read:
                for standing in self._read():
                    self._begin(standing)
            self._changed = True

    def _outage(self, standing: Standing) -> str | None:
        """Why a rule cannot be answered at present, as a sentence."""
        return self._offline.get(standing.camera) or self._model_problem or standing.refusal

    def _about(self, camera: str) -> list[Standing]:
        return [standing for standing in self._standing.values() if standing.camera == camera]

    def _lose(self, standing: Standing, reason: str = NO_ANSWER) -> None:
        standing.judge.lose(reason)
        self._tell(standing)

    def _begin(self, standing: Standing, *, replaces: bool = False) -> None:
        """Publish a rule for the first time, and clear the picture of what its name stood for before."""
        self._tell(standing, anew=True)
        if replaces or not standing.rule.snapshot:
            self._publisher.clear_rule_snapshot(standing.rule.id)

    def _tell(self, standing: Standing, *, anew: bool = False) -> None:
        """Publish what has changed of a rule; its attributes in any case if there is an answer `anew`."""
        state, reason = standing.judge.state, self._reason(standing)
        before, standing.told = standing.told, (state, reason)
        has_turned = before is None or before[0] != state
        if before is not None and has_turned:
            standing.since_ts = rfc3339(time.time())
            why = f" reason={reason!r}" if reason else ""  # only of a state that is unknown
            log.info("rule changed id=%s state=%s%s", standing.rule.id, state, why)
        # In this order: whoever sees the state turn finds the answer that turned it.
        if anew or before != standing.told:
            self._publisher.rule_attributes(standing.rule.id, self._attributes(standing))
        if has_turned:
            self._publisher.rule_state(standing.rule.id, state)

    def _put(self, rule: RuleConfig, origin: Origin) -> Standing:
        """Add or replace a rule."""
        camera, now_s = rule.camera or self._cameras[0], time.monotonic()
        if camera not in self._cameras:
            self._offline[camera] = f"There is no camera {camera!r} in the configuration; add it, or remove the rule."
        in_force = rule
        if rule.snapshot and origin == "mqtt" and not self._allow_snapshots:  # leave that it had was taken back
            in_force = rule.model_copy(update={"snapshot": False})
        standing = Standing(in_force, rule, camera, origin, Judge(rule), since_ts=rfc3339(time.time()), fresh_s=now_s)
        self._standing[rule.id] = standing
        self._gone.pop(rule.id, None)
        self.timetable.put(in_force, camera, now_s)
        return standing

    def _forget(self, rule_id: str) -> None:
        """Clear the topics of a rule that is gone; its id is kept until the broker has done so."""
        self._gone[rule_id] = None
        self._changed = True
        self._publisher.forget_rule(rule_id)

    def _read(self) -> list[Standing]:
        """Take up what was kept; those rules."""
        found = self._file.read()
        for rule in found.rules:
            if rule.id in self._standing:
                log.warning("rule not taken up id=%s reason=%s", rule.id, "there is another one of this name")
            else:
                self._left_out.append(rule)
        begun = self._take_up()
        for rule in self._left_out:
            log.warning("rule not taken up id=%s reason=%s", rule.id, f"there are {MAX_RULES} others")
        for gone in [id for id in found.published if id not in self._standing]:
            self._forget(gone)
        self._changed |= set(found.published) != set(self._standing)
        return begun

    def _take_up(self) -> list[Standing]:
        """Add rules that were left out, as many as there is room for; those rules."""
        room = MAX_RULES - len(self._standing)
        taken, self._left_out = self._left_out[:room], self._left_out[room:]
        return [self._put(rule, "mqtt") for rule in taken]

    def _reason(self, standing: Standing) -> str | None:
        return None if standing.judge.state != "unknown" else self._outage(standing) or standing.judge.reason

    def _attributes(self, standing: Standing) -> dict[str, Any]:
        return standing.attributes(self._reason(standing))
