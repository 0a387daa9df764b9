"""A supervised camera for the tests: the real supervisor, its real process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_app.camera.supervisor import CameraSupervisor
from edge_app.settings import CameraConfig
from tests.broker import wait_until


class Watched:
    """A camera that is looked after while a test waits for something."""

    def __init__(self, **config: Any) -> None:
        self.supervisor = CameraSupervisor(CameraConfig(name="door", **config))

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 30) -> Any:
        """Poll the supervisor until a condition is true; return its value."""

        def turn() -> Any:
            self.supervisor.poll(time.monotonic())
            return condition()

        return wait_until(turn, f"{what} (camera: {self.supervisor.reason or 'no problem'})", timeout_s)

    def until_online(self) -> None:
        """Wait for the first frames."""
        self.until(lambda: self.supervisor.online, "the camera to be online")

    def until_frames(self, count: int) -> None:
        """Wait for that many more frames."""
        goal = self.frame_id + count
        self.until(lambda: self.frame_id >= goal, f"{count} more frames")

    @property
    def frame_id(self) -> int:
        """The newest frame; 0 before the first."""
        newest = self.supervisor.buffer.latest_info()
        return newest.frame_id if newest else 0

    @property
    def pid(self) -> int:
        """The camera's process."""
        assert self.supervisor.pid is not None
        return self.supervisor.pid


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """A function from the settings of a camera to the camera, looked after; stopped after the test."""
    started: list[Watched] = []

    def start(source: str, **config: Any) -> Watched:
        started.append(Watched(source=source, **config))
        return started[-1]

    yield start
    for watched in started:
        watched.supervisor.stop(2)
