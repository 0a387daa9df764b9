"""What the overlay shows, as plain values: made by the service, sent to the display's process, drawn there.

No NumPy and no OpenCV here: the service process imports this.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_app.messages import Result
from edge_app.rules.rule import MAX_RULES

# Of one field on its way to the display; the overlay shows fewer. Six fields of four-byte characters, each escaped
# as 12 bytes of JSON, are 43 KB: they fit the link's 64 KiB together with all rules and cameras, whose names are ASCII
# and take 14 KB at most.
MAX_TEXT_CHARS = 600
MAX_NAME_CHARS = 64


@dataclass(frozen=True)
class OverlayState:
    """Everything on the picture that is not the picture."""

    camera: str
    """Name of the camera to show."""
    camera_online: bool = False
    others: tuple[tuple[str, bool], ...] = ()
    """Name of each other camera, and whether it is online."""
    broker_online: bool = False
    caption: str | None = None
    caption_confidence: float | None = None
    """0..1."""
    captioned_s: float | None = None
    """Capture of the frame that `caption` describes, by `time.monotonic()`."""
    caption_ms: float | None = None
    """Time the model took for it."""
    device: str | None = None
    """Where the model runs: "CPU", "GPU"; None while it does not."""
    question: str | None = None
    answer: str | None = None
    answer_confidence: float | None = None
    """0..1."""
    p_yes: float | None = None
    """0..1; where the answer is yes or no, its share is shown in place of the confidence."""
    rules: tuple[tuple[str, str], ...] = ()
    """Name and state of each rule: "ON", "OFF", "unknown"."""
    notice: str | None = None
    """A sentence that a person should read: "The GPU failed its self-check; the CPU works instead." """

    def with_result(self, result: Result, *, now_s: float) -> OverlayState:
        """This state with a new caption or answer about its camera in it; an error changes nothing.

        `now_s` is the monotonic clock at the time of the result.
        """
        if result.status != "ok" or result.camera != self.camera:
            return self
        if result.type == "answer":
            return dataclasses.replace(
                self,
                question=result.question,
                answer=result.text,
                answer_confidence=result.confidence,
                p_yes=result.p_yes,
            )
        return dataclasses.replace(
            self,
            caption=result.text,
            caption_confidence=result.confidence,
            captioned_s=None if result.age_ms is None else now_s - result.age_ms / 1000,
            caption_ms=result.timing_ms.total if result.timing_ms else None,
            device=result.device,
        )

    def to_message(self) -> dict[str, Any]:
        """The fields as JSON values: long texts cut, numbers that are not finite left out."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_message(cls, values: Mapping[str, Any]) -> OverlayState:
        """The state that `to_message` wrote. TypeError for unknown or missing fields."""
        pairs = {key: tuple((name, state) for name, state in values.get(key, ())) for key in ("others", "rules")}
        return cls(**{**values, **pairs})


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value[:MAX_TEXT_CHARS]
    if isinstance(value, tuple):
        return [
            [name[:MAX_NAME_CHARS], state[:MAX_NAME_CHARS] if isinstance(state, str) else state]
            for name, state in value[:MAX_RULES]
        ]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
