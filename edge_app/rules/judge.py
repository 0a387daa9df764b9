"""From answers to the state of a rule: hysteresis, answers in a row, a cooldown, and `unknown` where nobody knows.

Pure: no clock, no thread. `unknown` stands for everything that is neither: no answer yet, a camera that is offline, a
model that does not answer, a question that yes and no do not answer. It is never told as OFF, and no event tells of it.
"""

from __future__ import annotations

import math
from typing import Literal

from edge_app.rules.rule import RuleConfig

State = Literal["ON", "OFF", "unknown"]
RuleEvent = Literal["rule_on", "rule_off"]

LEAST_MASS = 0.5  # P(yes) + P(no) below which the question is off topic: another word is likelier than the two together

NO_ANSWER = "It has not been answered yet."
UNDECIDED = "Not enough answers in a row have said the same yet."
OFF_TOPIC = "The model answers neither yes nor no to it; ask a question that is answered by one of them."


class Judge:
    """The state of one rule. Feed it each answer with the monotonic time of its arrival."""

    def __init__(self, rule: RuleConfig) -> None:
        self.state: State = "unknown"
        self.reason: str | None = NO_ANSWER
        """Why the state is unknown, as a sentence; None while it is known."""
        self._rule = rule
        self._told: State = "unknown"  # the last state that was ON or OFF: an outage in between is no event
        self._candidate: State | None = None  # what the newest answers say, where that is another state
        self._streak = 0  # how many of them say so
        self._answered = False  # since the start, or since the last `lose`
        self._hold_until_s = -math.inf

    @property
    def is_settled(self) -> bool:
        """The same answer once more would change nothing, now or later: a still picture need not be asked."""
        return self._answered and self._candidate is None

    def judge(self, p_yes: float | None, yes_no_mass: float | None, now_s: float) -> RuleEvent | None:
        """Take an answer; the event that it makes, if it makes one."""
        self._answered = True
        says = self._says(p_yes, yes_no_mass)
        if self.state == "unknown":  # whatever was the reason so far, now there are answers
            self.reason = OFF_TOPIC if says == "unknown" else UNDECIDED
        if says in (None, self.state):
            self._candidate, self._streak = None, 0
            return None
        self._streak = self._streak + 1 if says == self._candidate else 1
        self._candidate = says
        if self._streak < self._rule.consecutive:
            return None
        if "unknown" not in (says, self._told) and says != self._told and now_s < self._hold_until_s:
            if self.state == "unknown":  # after an outage: what was told is not seen, what is seen not yet to be told
                self.reason = (
                    f"Its answers say {says}, but it turned {self._told} less than {self._rule.cooldown_s:g} s ago; "
                    "it turns again when that time is over."
                )
            return None  # and the streak goes on: the first answer after the cooldown decides
        return self._change(says, now_s)

    def lose(self, reason: str) -> None:
        """From now on nobody knows, until answers say otherwise again."""
        self.state, self.reason = "unknown", reason
        self._candidate, self._streak, self._answered = None, 0, False

    def _says(self, p_yes: float | None, yes_no_mass: float | None) -> State | None:
        """The state that an answer alone stands for; None between the thresholds."""
        if p_yes is None or yes_no_mass is None or not yes_no_mass >= LEAST_MASS:
            return "unknown"
        if p_yes >= self._rule.threshold_on:
            return "ON"
        return "OFF" if p_yes <= self._rule.threshold_off else None

    def _change(self, state: State, now_s: float) -> RuleEvent | None:
        self.state, self.reason = state, OFF_TOPIC if state == "unknown" else None
        self._candidate, self._streak = None, 0
        if state in ("unknown", self._told):
            return None
        was, self._told = self._told, state
        if was == "unknown" and state == "OFF":
            return None  # how it began is no event
        self._hold_until_s = now_s + self._rule.cooldown_s
        return "rule_on" if state == "ON" else "rule_off"
