"""All cameras of a node as one object: what the service asks of them, by name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from edge_app.camera.supervisor import CameraSupervisor
from edge_app.escalation import Rungs
from edge_app.settings import Box, CameraConfig


class CameraSet:
    """One supervisor a camera. Owned by the main thread."""

    def __init__(self, configs: Sequence[CameraConfig], log_level: str) -> None:
        self._cameras = {config.name: CameraSupervisor(config, log_level=log_level) for config in configs}
        self._regions = {config.name: config.region for config in configs}
        self._was_online = dict.fromkeys(self._cameras, False)

    def names(self) -> tuple[str, ...]:
        """All cameras, in the order of the configuration."""
        return tuple(self._cameras)

    def frame_fds(self) -> dict[str, int]:
        """The descriptor of each camera's frame buffer."""
        return {name: camera.buffer.fd for name, camera in self._cameras.items()}

    def poll(self, now_s: float) -> list[tuple[str, bool]]:
        """Look after every camera; return those that came online (True) or went offline (False)."""
        changes = []
        for name, camera in self._cameras.items():
            camera.poll(now_s)
            if camera.online != self._was_online[name]:
                self._was_online[name] = camera.online
                changes.append((name, camera.online))
        return changes

    def is_online(self, name: str) -> bool:
        """Whether the camera delivered frames at the last poll."""
        return self._was_online[name]

    def is_starting(self, name: str) -> bool:
        """Whether its first frame is still expected."""
        return self._cameras[name].is_starting

    def frame_id(self, name: str) -> int | None:
        """The newest frame of a camera; None if it is offline or has delivered none."""
        frame = self._cameras[name].buffer.latest_info() if self._was_online[name] else None
        return frame.frame_id if frame else None

    def region(self, name: str) -> Box | None:
        """Where captions, rules and questions look unless they say otherwise; None: everywhere."""
        return self._regions[name]

    def change(self, name: str) -> int:
        """The number of the last change of a camera's picture; 0 before its first frame."""
        frame = self._cameras[name].buffer.latest_info()
        return frame.change if frame else 0

    def problem(self, name: str) -> str:
        """Why a camera is offline, as part of a sentence."""
        return self._cameras[name].reason or "no frame yet"

    def describe(self) -> dict[str, Any]:
        """What each camera is, for `info`."""
        return {name: camera.info for name, camera in self._cameras.items()}

    def condition(self) -> dict[str, Any]:
        """How each camera does, for `health`."""
        return {
            name: {"online": camera.online, "frame_age_s": camera.frame_age_s, "problem": camera.reason or None}
            for name, camera in self._cameras.items()
        }

    def rungs(self) -> dict[str, Rungs]:
        """What was done about the failures of each camera."""
        return {name: camera.rungs for name, camera in self._cameras.items()}

    def refused_since_s(self) -> list[float | None]:
        """Of each camera, since when (monotonic) the system has refused to start its process."""
        return [camera.refused_since_s for camera in self._cameras.values()]

    def stop(self, timeout_s: float) -> None:
        """End all camera processes within `timeout_s`."""
        deadline_s = time.monotonic() + timeout_s
        for number, camera in enumerate(self._cameras.values()):
            camera.stop(max(0.1, (deadline_s - time.monotonic()) / (len(self._cameras) - number)))
