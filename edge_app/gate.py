"""The change gate: no inference about a picture that stands still.

The camera's process sees every frame and numbers the changes (`edge_app.gate_meter`); a frame carries the number of the
last one. Here is remembered which number the last inference of each kind saw. So a change between two inferences is
never lost, however short it was, and nothing has to be sent or acknowledged.
"""

from __future__ import annotations

from typing import Literal

from edge_app.settings import GateConfig

Kind = Literal["caption", "rules"]


class Gate:
    """Plain state: the clock is an argument. Owned by the main thread."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._seen: dict[tuple[Kind, str], tuple[int, float]] = {}  # the change, and when it was seen (monotonic)

    def is_open(self, kind: Kind, camera: str, change: int, now_s: float) -> bool:
        """Whether to infer: the picture has changed since the last time, or that was long ago, or there is no gate."""
        seen = self._seen.get((kind, camera))
        if not self._config.enabled or seen is None:
            return True
        return seen[0] != change or now_s - seen[1] >= self._config.refresh_s

    def saw(self, kind: Kind, camera: str, change: int, now_s: float) -> None:
        """Note that an inference was about a frame with this change number."""
        self._seen[kind, camera] = change, now_s

    def open(self, kind: Kind) -> None:
        """Infer anew whatever the picture does, because what is asked about it has changed."""
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] != kind}
