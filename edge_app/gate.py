"""The change gate: no inference about a picture that stands still.

The camera's process sees every frame and numbers the changes (`edge_app.gate_meter`); a frame carries the number of the
last one. Remembered is which number the last caption of each camera, and the last answer to each rule, was about. So a
change between two inferences is never lost, however short it was, and nothing has to be sent or acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_app.settings import GateConfig


@dataclass(frozen=True)
class Sight:
    """What a caption, or the answer to a rule, was about."""

    frame_id: int
    change: int
    """The number of the last change of the picture then."""
    at_s: float
    """Monotonic time of its result."""


class Gate:
    """Whether a picture is worth another inference. It remembers nothing: the clock is an argument."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config

    def is_open(self, last: Sight | None, change: int, now_s: float) -> bool:
        """Whether to infer: the picture has changed since the last time, or that was long ago, or there is no gate."""
        if not self._config.enabled or last is None:
            return True
        return last.change != change or now_s - last.at_s >= self._config.refresh_s
