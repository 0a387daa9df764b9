"""What the display is told: the newest results, and how the parts of the service do."""

from __future__ import annotations

import dataclasses
import time

from edge_app.camera_set import CameraSet
from edge_app.dispatcher import Dispatcher
from edge_app.messages import Result
from edge_app.mqtt.session import Session
from edge_app.overlay.state import OverlayState
from edge_app.rules.keeper import RuleKeeper


class OverlayFeed:
    """The state of the overlay, kept up to date. Owned by the main thread."""

    def __init__(self, camera: str) -> None:
        """Begin with the camera of this name, until there is a result about another one."""
        self._state = OverlayState(camera=camera)

    def note(self, result: Result) -> None:
        """Take a new caption or answer; it is shown from the next `shown` on."""
        self._state = self._state.with_result(result, now_s=time.monotonic())

    def shown(self, dispatcher: Dispatcher, cameras: CameraSet, session: Session, rules: RuleKeeper) -> OverlayState:
        """The overlay with what the other parts know now."""
        self._state = dataclasses.replace(
            self._state,
            camera_online=cameras.is_online(self._state.camera),
            broker_online=session.connected,
            device=self._state.device if dispatcher.is_ready else None,
            notice=_notice(dispatcher),
            rules=tuple(rules.states.items()),
        )
        return self._state


def _notice(dispatcher: Dispatcher) -> str | None:
    if dispatcher.model_problem:
        return f"The model cannot start: {dispatcher.model_problem}"
    if dispatcher.model_info is None:
        return "The model is starting."
    # A device that was asked for and not taken is said aloud.
    return " ".join(dispatcher.model_info.get("fallbacks", [])) or None
