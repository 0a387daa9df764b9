"""The standing rules of a node: added and removed, judged by their answers, and published.

Those of the configuration file are the operator's: a message can neither replace nor remove them. Those that come by
MQTT are kept on the disk. Owned by the main thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_app.errors import BadRequestError
from edge_app.messages import Result, rfc3339
from edge_app.publisher import Publisher
from edge_app.rules import kept
from edge_app.rules.judge import Judge, State
from edge_app.rules.rule import MAX_RULES, RuleConfig
from edge_app.rules.timetable import Timetable

RETRY_FAILED_S = 600.0  # a rule that the model refuses, or dies on, is left alone for so long
STALE_S = 60.0  # without an answer for so long, or for three intervals, a state is of the past

# What the attributes have of the newest answer.
ANSWER_KEYS = ("text", "confidence", "p_yes", "yes_no_mass", "frame_id", "frame_ts", "ts", "age_ms", "model", "device")
EVENT_KEYS = ("id", "question", "camera", "p_yes", "frame_id", "frame_ts")

Origin = Literal["config", "mqtt"]

log = logging.getLogger(__name__)


@dataclass
class Standing:
    """A rule, and what is known of it."""

    rule: RuleConfig
    camera: str
    origin: Origin
    judge: Judge
    since_ts: str
    """When its state last changed, RFC 3339."""
    fresh_s: float
    """Monotonic time at which its state was last known to hold."""
    result: Result | None = None
    is_barred: bool = False
    """The model refused it, and has not answered it since."""


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
            cameras: the names of all cameras; rules that name none are about the first one.
            publisher: where states, attributes and events go.
            folder: the state folder; None keeps nothing.
            allow_snapshots: whether rules that come by MQTT may publish pictures.
        """
        self.timetable = Timetable()
        self.problem: str | None = None
        """Why rules that came by MQTT are not on the disk; None while they are."""
        self._cameras, self._publisher, self._folder = tuple(cameras), publisher, folder
        self._allow_snapshots = allow_snapshots
        self._standing: dict[str, Standing] = {}
        self._published: list[str] = []
        for rule in rules:
            self._put(rule, "config")
        if folder is not None:
            self._take_up(kept.read(folder))

    def __len__(self) -> int:
        return len(self._standing)

    @property
    def rules(self) -> list[RuleConfig]:
        """Every rule, as it was made."""
        return [standing.rule for standing in self._standing.values()]

    @property
    def states(self) -> dict[str, State]:
        """The state of each rule."""
        return {id: standing.judge.state for id, standing in self._standing.items()}

    def describe(self) -> list[dict[str, Any]]:
        """Every rule as its attributes have it."""
        return [self._attributes(standing) for standing in self._standing.values()]

    def publish(self) -> None:
        """Publish all rules, and clear the topics of those that were removed while the service was off."""
        for gone in [id for id in self._published if id not in self._standing]:
            self._publisher.forget_rule(gone)
        for standing in self._standing.values():
            self._publish(standing)
        if set(self._published) != set(self._standing):
            self._keep()

    def add(self, rule: RuleConfig) -> dict[str, Any]:
        """Add or replace a rule that came by MQTT; its attributes. BadRequestError."""
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
        if known is None or known.rule != rule:  # the same again is no reason to forget a state
            self._put(rule, "mqtt")
            self._keep()
            self._publish(self._standing[rule.id])
            log.info("rule added id=%s camera=%s", rule.id, self._standing[rule.id].camera)
        return {**self._attributes(self._standing[rule.id]), "problem": self.problem}

    def remove(self, rule_id: str) -> dict[str, Any]:
        """Remove a rule that came by MQTT, and its retained topics. BadRequestError."""
        known = self._standing.get(rule_id)
        if known is None:
            raise BadRequestError(f"There is no rule {rule_id!r}; request/rule/list tells which there are.")
        if known.origin == "config":
            raise BadRequestError(f"The rule {rule_id!r} is in the configuration file; remove it there.")
        del self._standing[rule_id]
        self.timetable.remove(rule_id)
        self._publisher.forget_rule(rule_id)
        self._keep()
        log.info("rule removed id=%s", rule_id)
        return {"id": rule_id, "problem": self.problem}

    def answered(self, rule: RuleConfig, result: Result, now_s: float) -> bool:
        """Take an answer to a rule; True if it made an event, which has been published."""
        standing = self._standing.get(rule.id)
        if standing is None or standing.rule is not rule:
            return False  # removed or replaced while it was asked
        standing.result, standing.fresh_s, standing.is_barred = result, now_s, False
        before = standing.judge.state
        event = standing.judge.judge(result.p_yes, result.yes_no_mass, now_s)
        if standing.judge.state != before:
            self._note_change(standing)
        self._publish(standing, state_too=standing.judge.state != before)
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
        standing = self._standing.get(rule.id)
        if standing is not None and standing.rule is rule:
            self._publisher.rule_snapshot(rule.id, jpeg)

    def failed(self, rule: RuleConfig, reason: str, now_s: float) -> None:
        """The model refuses a rule, or dies on it: it is left alone for a while."""
        standing = self._standing.get(rule.id)
        if standing is not None and standing.rule is rule:
            self.timetable.bar(rule.id, now_s + RETRY_FAILED_S)
            log.warning("rule failed id=%s reason=%r", rule.id, reason)
            standing.is_barred = True
            self._lose(standing, reason)

    def camera_offline(self, camera: str, problem: str) -> None:
        """Nobody knows what a camera would show that is offline."""
        self._lose_where(lambda standing: standing.camera == camera, f"The camera is offline: {problem}.")

    def model_failed(self, reason: str) -> None:
        """No rule is answered for a while."""
        self._lose_where(lambda _: True, f"The model cannot start: {reason}")

    def holds(self, camera: str, now_s: float) -> None:
        """The picture of a camera stands still: what is settled about it still holds."""
        for standing in self._standing.values():
            if standing.camera == camera and standing.judge.is_settled:
                standing.fresh_s = now_s

    def is_settled(self, camera: str) -> bool:
        """Whether no rule about a camera waits for a further answer about the same picture."""
        concerned = [standing for standing in self._standing.values() if standing.camera == camera]
        return all(standing.judge.is_settled or standing.is_barred for standing in concerned)

    def check(self, now_s: float, interval_s: float) -> None:
        """Call states of the past unknown; `interval_s` is that of rules without one of their own."""
        for standing in self._standing.values():
            own_s = standing.rule.interval_s
            limit_s = max(STALE_S, 3 * (interval_s if own_s is None else own_s))
            if now_s - standing.fresh_s > limit_s:
                self._lose(standing, f"It has not been answered for {limit_s:g} s.")

    def _lose_where(self, concerned: Callable[[Standing], bool], reason: str) -> None:
        for standing in filter(concerned, self._standing.values()):
            self._lose(standing, reason)

    def _lose(self, standing: Standing, reason: str) -> None:
        was_known = standing.judge.state != "unknown"
        if not was_known and standing.judge.reason == reason:
            return
        standing.judge.lose(reason)
        if was_known:
            self._note_change(standing)
        self._publish(standing, state_too=was_known)

    def _note_change(self, standing: Standing) -> None:
        standing.since_ts = rfc3339(time.time())
        judge = standing.judge
        why = f" reason={judge.reason!r}" if judge.reason else ""  # only of a state that is unknown
        log.info("rule changed id=%s state=%s%s", standing.rule.id, judge.state, why)

    def _put(self, rule: RuleConfig, origin: Origin) -> None:
        camera = rule.camera or self._cameras[0]
        self._standing[rule.id] = Standing(
            rule, camera, origin, Judge(rule), since_ts=rfc3339(time.time()), fresh_s=time.monotonic()
        )
        self.timetable.put(rule, camera)

    def _take_up(self, found: kept.Kept) -> None:
        """What was kept, as far as it still fits: the configuration may have changed since."""
        self._published = list(found.published)
        for rule in found.rules:
            fits = rule.id not in self._standing and (rule.camera is None or rule.camera in self._cameras)
            fits &= self._allow_snapshots or not rule.snapshot
            if fits and len(self._standing) < MAX_RULES:
                self._put(rule, "mqtt")
            else:
                log.warning("rule not taken up id=%s camera=%s", rule.id, rule.camera)

    def _keep(self) -> None:
        """Bring what came by MQTT to the disk."""
        self._published = list(self._standing)
        if self._folder is None:
            return
        rules = [standing.rule for standing in self._standing.values() if standing.origin == "mqtt"]
        try:
            kept.write(self._folder, rules, self._published)
        except OSError as error:
            self.problem = f"The rules could not be written to the disk ({error.strerror}); a restart forgets them."
            log.warning("rules not kept reason=%s", error)
        else:
            self.problem = None

    def _publish(self, standing: Standing, *, state_too: bool = True) -> None:
        # In this order: whoever sees the state turn finds the answer that turned it.
        self._publisher.rule_attributes(standing.rule.id, self._attributes(standing))
        if state_too:
            self._publisher.rule_state(standing.rule.id, standing.judge.state)

    def _attributes(self, standing: Standing) -> dict[str, Any]:
        rule, result = standing.rule, standing.result
        return {
            "v": 1,
            "id": rule.id,
            "state": standing.judge.state,
            "reason": standing.judge.reason,
            "since": standing.since_ts,
            "origin": standing.origin,
            "camera": standing.camera,
            **{key: value for key, value in rule.model_dump(mode="json").items() if key not in ("id", "camera")},
            **{key: getattr(result, key, None) for key in ANSWER_KEYS},
        }
