"""Nodes whose camera a row breaks, and what they say of it."""

from __future__ import annotations

import contextlib
import time

import psutil

from tests.fake_camera import COMPILER, FakeCamera
from tests.faults.fault import UnavailableError
from tests.faults.harness import Harness, until_captioned
from tests.faults.listener import Arrival
from tests.faults.node import CAMERA, TOPICS, Model

WORKER = "edge_app.camera.worker"
FPS = 25


class Watched:
    """A node, the broker and listener of its own, and a camera that has delivered frames."""

    def __init__(
        self, harness: Harness, source: str, environ: dict[str, str] | None = None, model: Model = "stand-in"
    ) -> None:
        broker = harness.broker()
        self.listener = harness.listener(broker.port)
        self.node = harness.node(
            broker.port, {"camera": {"source": source, "fps": FPS}}, environ=environ or {}, model=model
        )
        self.node.start()
        until_captioned(self.listener)
        self.service_pid = self.node.pid

    @property
    def camera_pid(self) -> int | None:
        """The camera's process; None while none runs."""
        with contextlib.suppress(psutil.Error):  # it ends while it is looked at
            return next(iter(self.node.children(WORKER)), None)
        return None

    @property
    def is_untouched(self) -> bool:
        """The service is the process that it was, and runs."""
        return self.node.is_running and self.node.pid == self.service_pid

    def expect_status(self, status: bytes, since_s: float, timeout_s: float = 30) -> float:
        """Seconds from `since_s` until the camera's status is told to be `online` or `offline`."""
        topic = TOPICS.camera_status(CAMERA)
        came = self.listener.expect(
            lambda each: each.topic == topic and each.payload == status,
            f"the camera to be {status.decode()}",
            since_s=since_s,
            timeout_s=timeout_s,
        )
        return came.arrived_s - since_s

    def expect_health(self, words: str, since_s: float, timeout_s: float) -> float:
        """Seconds from `since_s` until a `health` message has `words` in the camera's problem."""
        came = self.listener.expect(
            lambda each: each.topic == TOPICS.health and words in str(each.values["cameras"][CAMERA]["problem"]),
            f"health to say {words!r}",
            since_s=since_s,
            timeout_s=timeout_s,
        )
        return came.arrived_s - since_s

    def health(self) -> Arrival:
        """The next `health` message."""
        return self.listener.expect(
            lambda each: each.topic == TOPICS.health, "health", since_s=time.monotonic(), timeout_s=10
        )

    def rungs(self) -> dict[str, int]:
        """What has been done about the camera so far."""
        rungs: dict[str, int] = self.health().values["escalation"][f"camera/{CAMERA}"]
        return rungs

    def cpu_s(self) -> float:
        """Seconds of CPU that service and camera process have used."""
        processes = [psutil.Process(pid) for pid in (self.service_pid, self.camera_pid) if pid is not None]
        times = [process.cpu_times() for process in processes]
        return float(sum(each.user + each.system for each in times))


def fake_camera(harness: Harness) -> FakeCamera:
    """A V4L2 device of this machine; UnavailableError where it cannot be made."""
    if COMPILER is None:
        raise UnavailableError("there is no C compiler (cc) to make the V4L2 device of; install gcc.")
    return FakeCamera(harness.new_folder("device"))
