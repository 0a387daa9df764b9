"""One standing rule and what is known of it, and how its attributes tell that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from edge_app.gate import Sight
from edge_app.messages import Result
from edge_app.rules.judge import Judge, State
from edge_app.rules.rule import RuleConfig

# What the attributes have of the newest answer.
ANSWER_KEYS = ("text", "confidence", "p_yes", "yes_no_mass", "frame_id", "frame_ts", "ts", "age_ms", "model", "device")

Origin = Literal["config", "mqtt"]


@dataclass
class Standing:
    """A rule, and what is known of it."""

    rule: RuleConfig
    """As it is in force."""
    made: RuleConfig
    """As it was made: with the picture that the configuration may not allow at present."""
    camera: str
    origin: Origin
    judge: Judge
    since_ts: str
    """When its state last changed, RFC 3339."""
    fresh_s: float
    """Monotonic time at which its state was last known to hold."""
    result: Result | None = None
    refusal: str | None = None
    """Why the model refused it, until it answers it."""
    sight: Sight | None = None
    """What its newest answer was about."""
    told: tuple[State, str | None] | None = None
    """State and reason as they were last published; None before the first time."""

    def attributes(self, reason: str | None) -> dict[str, Any]:
        """What is published of it; `reason` says why its state is unknown, and is None while it is known."""
        values = self.rule.model_dump(mode="json", exclude={"id", "camera"})
        return {
            "v": 1,
            "id": self.rule.id,
            "state": self.judge.state,
            "reason": reason,
            "since": self.since_ts,
            "origin": self.origin,
            "camera": self.camera,
            **values,
            **{key: getattr(self.result, key, None) for key in ANSWER_KEYS},
        }
