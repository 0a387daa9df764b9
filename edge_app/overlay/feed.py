"""What the display is told: the newest results of the camera it shows, and how the parts of the service do."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from edge_app.camera_set import CameraSet
from edge_app.dispatcher import Dispatcher
from edge_app.messages import Result
from edge_app.mqtt.session import Session
from edge_app.overlay.state import OverlayState
from edge_app.rules.keeper import RuleKeeper

HOLD_S = 10.0  # a camera is shown at least for so long: time to read


class OverlayFeed:
    """The state of the overlay of each camera, and which of them is shown. Owned by the main thread.

    One that the configuration names is always shown. Else it is the one with the newest result, but each for `HOLD_S`;
    an answer is shown at once, and held as long: somebody waits for it.
    """

    def __init__(self, cameras: Sequence[str], always: str | None) -> None:
        self._states = {name: OverlayState(camera=name) for name in cameras}
        self._shown = always or cameras[0]
        self._is_fixed = always is not None
        self._held_until_s = 0.0

    def note(self, result: Result, now_s: float | None = None) -> None:
        """Take a new caption or answer; `now_s` is the monotonic clock, if not its time now."""
        now_s = time.monotonic() if now_s is None else now_s
        if result.status != "ok" or result.camera not in self._states:
            return
        self._states[result.camera] = self._states[result.camera].with_result(result, now_s=now_s)
        if self._is_fixed:
            return
        if result.type == "answer" or (result.camera != self._shown and now_s >= self._held_until_s):
            self._shown, self._held_until_s = result.camera, now_s + HOLD_S

    def shown(self, dispatcher: Dispatcher, cameras: CameraSet, session: Session, rules: RuleKeeper) -> OverlayState:
        """The overlay with what the other parts know now."""
        state = self._states[self._shown]
        return dataclasses.replace(
            state,
            camera_online=cameras.is_online(state.camera),
            others=tuple((name, cameras.is_online(name)) for name in self._states if name != state.camera),
            broker_online=session.connected,
            device=state.device if dispatcher.is_ready else None,
            notice=_notice(dispatcher),
            rules=tuple(rules.states.items()),
        )


def _notice(dispatcher: Dispatcher) -> str | None:
    if dispatcher.model_problem:
        return f"The model cannot start: {dispatcher.model_problem}"
    if dispatcher.model_info is None:
        return "The model is starting."
    # A device that was asked for and not taken is said aloud.
    return " ".join(dispatcher.model_info.get("fallbacks", [])) or None
