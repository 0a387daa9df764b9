"""The service's side of the display: keeps its process running and tells it what to show, without ever waiting."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from edge_app.backoff import Backoff
from edge_app.child import Child
from edge_app.escalation import Rungs
from edge_app.overlay.state import OverlayState
from edge_app.settings import DisplayConfig

DISPLAY_MODULE = "edge_app.display"
STALL_S = 15.0  # the process says every second that it is alive; a start from a cold disk takes a few
STEADY_S = 30.0  # a process that ran this long was a success, and the back-off begins anew

log = logging.getLogger(__name__)


class DisplaySupervisor:
    """The display as the service sees it; with the backend "none" all of it does nothing.

    Owned by one thread, which must live as long as the display does (the kernel ties its process to it).
    """

    def __init__(self, config: DisplayConfig, frame_fds: Mapping[str, int], log_level: str = "INFO") -> None:
        self._child: DisplayChild | None = None
        if config.backend != "none":
            if not config.picture:  # the process cannot show, lose or leak what it was never given
                frame_fds = {}
            hello = {"display": config.model_dump(mode="json"), "frames": dict(frame_fds), "log_level": log_level}
            self._child = DisplayChild(
                "display", DISPLAY_MODULE, hello=hello, pass_fds=tuple(frame_fds.values()), backoff=Backoff(0.5, 60)
            )
        self._state: OverlayState | None = None
        self._told = True  # the process has the newest state
        self._started_s = self._heard_s = 0.0

    @property
    def pid(self) -> int | None:
        """The process, or None while none runs."""
        return self._child.pid if self._child else None

    @property
    def restarts(self) -> int:
        """How often the process was started again."""
        return self.rungs.restart

    @property
    def rungs(self) -> Rungs:
        """What was done about its failures so far."""
        return self._child.rungs if self._child else Rungs()

    @property
    def refused_since_s(self) -> float | None:
        """Since when (monotonic) the system has refused to start the process; None if it does not."""
        return self._child.refused_since_s if self._child else None

    def update(self, state: OverlayState) -> None:
        """Show `state` from now on. Costs nothing when nothing changed, so it may be called at every turn."""
        if self._child is not None and state != self._state:
            self._state = state
            self._told = self._child.tell({"state": state.to_message()})

    def poll(self, now_s: float) -> None:
        """Start the process, again if it ended; replace one that hangs. `now_s` is the monotonic clock.

        Nothing is started before the first `update`.
        """
        if self._child is None or self._state is None:
            return
        if self._child.restart_if_due():
            if self._child.restarts:
                log.warning("display started again pid=%s restarts=%d", self._child.pid, self._child.restarts)
            self._started_s = self._heard_s = now_s
            self._told = False
        if self._child.poll():
            self._heard_s = now_s
        if not self._child.is_alive():
            return
        if now_s - self._heard_s > STALL_S:
            log.warning("display hangs and is killed pid=%s silent_s=%.0f", self._child.pid, now_s - self._heard_s)
            self._child.kill()
            return
        if now_s - self._started_s > STEADY_S:
            self._child.backoff.reset()
        if not self._told:
            self._told = self._child.tell({"state": self._state.to_message()})

    def stop(self, timeout_s: float = 1.0) -> None:
        """End the process within `timeout_s`."""
        if self._child is not None:
            self._child.stop(timeout_s)


class DisplayChild(Child):
    """A Child that is told things and never answers."""

    def tell(self, message: Mapping[str, Any]) -> bool:
        """Send `message` without waiting; False if the process is gone, or has yet to read what it was sent."""
        if self._link is None:
            return False
        packet = json.dumps(message, allow_nan=False).encode()
        self._link.settimeout(0)
        try:
            self._link.send(packet)
        except OSError:  # a full link or a closed one; is_alive() tells which
            return False
        return True
