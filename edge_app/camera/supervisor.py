"""The parent's side of a camera: its frame buffer, its process, and whether it is online."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from edge_app.backoff import Backoff
from edge_app.child import Child
from edge_app.escalation import Rungs
from edge_app.frames import FrameBuffer
from edge_app.settings import CameraConfig, without_credentials

WORKER_MODULE = "edge_app.camera.worker"
OFFLINE_AFTER_S = 4.0  # a stall is to be seen within 5 s
START_GRACE_S = 20.0  # until the first heart-beat: OpenCV takes seconds to import on a small board
STEADY_S = 30.0  # a process that has run for so long, with frames, was a success: the back-off begins anew
# A process that reopens its source in vain for so long is replaced: what a library or a driver holds in it may be why.
# The next ones are given longer and longer, because most often the camera is simply not there.
PATIENCE_S, LONGEST_PATIENCE_S = 120.0, 3600.0
STARTING = "starting"
BLINDNESS = {"ok": "", "black": "its picture is black", "frozen": "its picture does not change"}

log = logging.getLogger(__name__)


class CameraSupervisor:
    """Starts a camera's process and replaces it when it hangs or ends. Owned by one long-lived thread; never waits.

    Judged by what arrives, not by what the process says: the age of the newest frame tells whether the camera is
    online, the age of the process's heart-beat whether it hangs.
    """

    def __init__(self, config: CameraConfig, *, log_level: str = "INFO") -> None:
        self.buffer = FrameBuffer.create(config.name)
        self.online = False
        self._failure = STARTING  # why it is offline
        self._has_been_online = False
        self._blindness = ""  # why its frames are of no use
        self._config = config
        self._detail = ""
        self._child = Child(
            f"camera {config.name}",
            WORKER_MODULE,
            hello={
                "camera": config.model_dump(mode="json"),
                "frames_fd": self.buffer.fd,
                "log_level": log_level,
            },
            pass_fds=(self.buffer.fd,),
            backoff=Backoff(0.5, 10.0),
        )
        self._patience = Backoff(PATIENCE_S, LONGEST_PATIENCE_S)
        self._replace_at_s = math.inf
        self._started_s = 0.0
        self._running = False  # started, and its end not told yet

    @property
    def is_starting(self) -> bool:
        """It has not delivered a frame yet, and nothing is known to be wrong with it."""
        return not self._has_been_online and self._failure in ("", STARTING)

    @property
    def reason(self) -> str:
        """What is wrong with the camera, as part of a sentence; "" when all is well."""
        return self._failure or self._blindness

    @property
    def frame_age_s(self) -> float | None:
        """Seconds since the newest frame was captured; None before the first."""
        newest = self.buffer.latest_info()
        return None if newest is None else round(max(0.0, time.monotonic() - newest.captured_s), 3)

    @property
    def info(self) -> dict[str, Any]:
        """What the camera is: source without password, what was opened, restarts of its process."""
        return {
            "source": without_credentials(self._config.source),
            "detail": self._detail,
            "restarts": self._child.restarts,
        }

    @property
    def rungs(self) -> Rungs:
        """What was done about its failures so far."""
        return self._child.rungs

    @property
    def refused_since_s(self) -> float | None:
        """Since when (monotonic) the system has refused to start the process; None if it does not."""
        return self._child.refused_since_s

    @property
    def pid(self) -> int | None:
        """The camera's process; None while it waits to be started again."""
        return self._child.pid

    def poll(self, now_s: float) -> None:
        """Look after the process and judge the frames; call it several times a second."""
        for event in self._child.poll():
            try:
                self._note(event)
            except (KeyError, TypeError, ValueError):  # not from our program, or from one that is broken
                log.exception("camera event not understood camera=%s", self._config.name)
        if not self._child.is_alive():
            self._note_end()
            self.buffer.beat(0.0)
            if self._child.restart_if_due():
                self._started_s = now_s
                self._replace_at_s = now_s + self._patience.next_s()
                self._running = True
                self._blindness = ""
        elif self._hangs(now_s):
            self._failure = f"its process did not move for {self._config.stall_s:g} s and was replaced"
            self._warn("camera hangs camera=%s stall_s=%g action=kill", self._config.name, self._config.stall_s)
            self._child.backoff.reset()  # it took seconds to be seen, and that was wait enough
            self._kill()
        elif not self.online and now_s >= self._replace_at_s:
            self._warn("camera process is of no use camera=%s reason=%r action=kill", self._config.name, self._failure)
            self._kill()
        elif self.online and now_s - self._started_s > STEADY_S:
            self._child.backoff.reset()
        self._judge(now_s)

    def _kill(self) -> None:
        self._running = False
        self._child.kill()

    def stop(self, timeout_s: float) -> None:
        """End the process within `timeout_s` and free the buffer."""
        self._child.stop(timeout_s)
        self.buffer.close()

    def _hangs(self, now_s: float) -> bool:
        """The process has given no heart-beat for `stall_s`; a new process is given time to begin."""
        beat_s = self.buffer.last_beat_s()
        if beat_s == 0:
            return now_s - self._started_s > max(START_GRACE_S, self._config.stall_s)
        return now_s - beat_s > self._config.stall_s

    def _judge(self, now_s: float) -> None:
        age_s = self.frame_age_s
        online = age_s is not None and age_s < OFFLINE_AFTER_S
        if online == self.online:
            return
        self.online = online
        if online:
            self._has_been_online = True
            self._failure = ""
            self._patience.reset()
            self._tell(logging.INFO, "camera online camera=%s detail=%r", self._config.name, self._detail)
        else:
            self._replace_at_s = now_s + self._patience.next_s()
            self._failure = self._failure or f"no frame for {OFFLINE_AFTER_S:g} s"
            self._warn("camera offline camera=%s reason=%r", self._config.name, self._failure)

    def _note(self, event: dict[str, Any]) -> None:
        if event["event"] == "opened":
            self._detail = str(event["detail"])
            self._failure = ""
        elif event["event"] == "reopen":
            self.rungs.reopen += 1
        elif event["event"] == "failed":
            is_news = event["reason"] != self._failure and not self.online  # one that recovers in time is none
            self._failure = str(event["reason"])
            if is_news:
                self._warn("camera failed camera=%s reason=%r", self._config.name, self._failure)
        elif event["event"] == "content":
            self._blindness = BLINDNESS[event["content"]]
            self._warn("camera content camera=%s content=%s", self._config.name, event["content"])

    def _note_end(self) -> None:
        """Tell, once, that the process has ended by itself."""
        if self._running:
            self._running = False
            self._failure = f"its process {self._child.exit_reason} and is started again"
            self._warn("camera process ended camera=%s reason=%r", self._config.name, self._failure)

    def _warn(self, message: str, *values: object) -> None:
        self._tell(logging.WARNING, message, *values)

    def _tell(self, level: int, message: str, *values: object) -> None:
        # One limit for all lines about a camera: a loose plug makes a round of them every few seconds.
        log.log(level, message, *values, extra={"about": f"camera {self._config.name}"})
