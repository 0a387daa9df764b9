"""When each rule is asked next, and which rules are asked together. Plain state: the clock is an argument."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edge_app.rules.rule import RuleConfig

# Rules that are due within this share of their interval come along: one more question costs a few milliseconds, a
# picture of its own the whole vision pass. It also brings rules into step that were added at different times.
EARLY_SHARE = 0.25

# What replaces a rule that the model refused may be better, so it need not wait for the end of the bar; but often a
# model that refuses must not be asked.
CORRECTED_S = 30.0


@dataclass
class _Entry:
    rule: RuleConfig
    camera: str
    last_s: float = -math.inf  # when it was asked last, or added
    barred_until_s: float = -math.inf
    is_new: bool = False  # never asked


class Timetable:
    """One line a rule. Owned by the main thread."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def put(self, rule: RuleConfig, camera: str, now_s: float = -math.inf) -> None:
        """Add a rule, due at once, but behind what has waited longer; or replace one, due when that would have been.

        Else whoever adds rules again and again would keep the model from everything else.
        """
        if known := self._entries.get(rule.id):
            barred_until_s = min(known.barred_until_s, known.last_s + CORRECTED_S)
            self._entries[rule.id] = _Entry(rule, camera, known.last_s, barred_until_s, known.is_new)
        else:
            self._entries[rule.id] = _Entry(rule, camera, now_s, is_new=True)

    def remove(self, rule_id: str) -> None:
        """Forget a rule."""
        self._entries.pop(rule_id, None)

    def bar(self, rule_id: str, until_s: float) -> None:
        """Ask a rule no more before `until_s`."""
        if entry := self._entries.get(rule_id):
            entry.barred_until_s = until_s

    def asked(self, rules: Iterable[RuleConfig], at_s: float) -> None:
        """Note that rules were asked about a frame of `at_s`."""
        for rule in rules:
            self._entries[rule.id].last_s = at_s
            self._entries[rule.id].is_new = False

    def last_s(self, rule: RuleConfig) -> float:
        """When a rule was asked last."""
        return self._entries[rule.id].last_s

    def due(self, camera: str, now_s: float, interval_s: float, share: float = 1.0) -> list[RuleConfig]:
        """The rules of a camera that were asked `share` of their interval ago or more, the longest ago first.

        `interval_s` is that of rules without one of their own.
        """
        return _in_turn(entry for entry in self._of(camera) if _due_s(entry, interval_s, share) <= now_s)

    def following(self, camera: str, now_s: float, interval_s: float, captioned_s: float) -> list[RuleConfig]:
        """The rules to ask about the frame that was captioned at `captioned_s`: those without an interval of their own
        in any case, the others if they are due, or nearly.
        """
        return _in_turn(
            entry
            for entry in self._of(camera)
            if entry.last_s < captioned_s
            and _due_s(entry, interval_s, 0 if entry.rule.interval_s is None else 1 - EARLY_SHARE) <= now_s
        )

    def next_s(self, cameras: Iterable[str], interval_s: float) -> float:
        """Monotonic time at which the next rule about one of `cameras` is due; infinity for none."""
        return min(
            (_due_s(entry, interval_s, 1.0) for camera in cameras for entry in self._of(camera)), default=math.inf
        )

    def _of(self, camera: str) -> list[_Entry]:
        return [entry for entry in self._entries.values() if entry.camera == camera]


def _in_turn(entries: Iterable[_Entry]) -> list[RuleConfig]:
    return [entry.rule for entry in sorted(entries, key=lambda entry: entry.last_s)]


def _due_s(entry: _Entry, interval_s: float, share: float) -> float:
    own_s = 0.0 if entry.is_new else entry.rule.interval_s
    return max(entry.last_s + share * (interval_s if own_s is None else own_s), entry.barred_until_s)
