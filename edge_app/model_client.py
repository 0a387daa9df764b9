"""The model's process, kept running and asked one thing at a time, by a thread of its own.

An inference can hang where nothing can cancel it; then this thread waits, the deadline passes, the process is killed
and a new one started, while the service goes on. The main thread submits requests and gets events.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_app.backoff import Backoff
from edge_app.child import Child
from edge_app.device_trials import LAST_RESORT, DeviceTrials
from edge_app.errors import ChildDiedError, ChildTimeoutError
from edge_app.escalation import Rungs
from edge_app.start_deadline import StartDeadline

START_POLL_S = 0.05
IDLE_POLL_S = 0.5
GRACE_S = 10  # what this thread may take beyond its deadlines: killing, reaping, starting
RETRY_ANYWAY_S = 600.0  # a device that may be tried again waits for so long for a moment without work

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelReady:
    """The process has loaded its bundles; `info` says which, and on what device."""

    info: dict[str, Any]


@dataclass(frozen=True)
class ModelStage:
    """The process that is loading has begun a step that it had not begun before."""

    stage: str


@dataclass(frozen=True)
class ModelDown:
    """The process has ended; it will be started again."""

    reason: str
    hopeful: bool
    """It served, or there is another device to try: the next process is likely to serve, and worth waiting for."""
    asked: bool = False
    """We ended it ourselves, for other bundles or another device, and for no fault of its own."""


@dataclass(frozen=True)
class ModelReply:
    """The reply to request `number`."""

    number: int
    reply: dict[str, Any]


@dataclass(frozen=True)
class ModelLost:
    """Request `number` ended with the process; always after the ModelDown that tells of it."""

    number: int
    reason: str


ModelEvent = ModelReady | ModelStage | ModelDown | ModelReply | ModelLost


class ModelClient:
    """Owns the model's process. `submit` only after a ModelReady, and only one request at a time."""

    def __init__(
        self,
        module: str,
        hello: Mapping[str, Any],
        pass_fds: Sequence[int],
        *,
        start_timeout_s: float,
        request_timeout_s: float,
        post: Callable[[ModelEvent], None],
        promise: Callable[[str, float], None],
        trials: DeviceTrials | None = None,
    ) -> None:
        self.pid: int | None = None
        self._start_problem: str | None = None  # why the last start failed; None after one that did not
        self._child = Child("model", module, hello=hello, pass_fds=pass_fds, backoff=Backoff(0.2, 30))
        self._start_timeout_s, self._request_timeout_s = start_timeout_s, request_timeout_s
        self._trials = trials or DeviceTrials(max(start_timeout_s, request_timeout_s))
        self._devices: list[str] = []  # that the process tries, or uses
        self._post, self._promise = post, promise
        self._requests: queue.SimpleQueue[tuple[int, dict[str, Any]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._renewal = threading.Event()
        self._renewal_reason = ""  # written before the event is set
        # The kernel ties the child's life to this thread (PR_SET_PDEATHSIG), so it must live as long as the child.
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    @property
    def rungs(self) -> Rungs:
        """What was done about its failures so far."""
        return self._child.rungs

    @property
    def refused_since_s(self) -> float | None:
        """Since when (monotonic) the system has refused to start the process; None if it does not."""
        return self._child.refused_since_s

    def start(self) -> None:
        """Start the thread, which starts the process."""
        self._thread.start()

    def submit(self, number: int, request: dict[str, Any]) -> None:
        """Send a request; a ModelReply or a ModelLost with the same number follows."""
        self._requests.put((number, request))

    def renew(self, reason: str = "for other bundles") -> None:
        """Start a new process, which loads the bundles anew, as soon as the request in flight is done."""
        self._renewal_reason = reason
        self._renewal.set()

    def stop(self, timeout_s: float) -> None:
        """End process and thread within `timeout_s`, in the middle of an inference, too."""
        self._stopping.set()
        self._requests.put(None)
        self._thread.join(timeout_s / 4)
        if self._thread.is_alive() and (pid := self.pid) is not None:
            # The thread waits for a reply; the process's end is one. It reaps the process itself, so until then
            # the number cannot belong to another.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._thread.join(timeout_s * 3 / 4)

    # From here on: the model's thread.

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if self._await_ready():
                    self._serve()
        finally:
            self._child.stop(0.5)
            self.pid = None

    def _await_ready(self) -> bool:
        """Start the process when its back-off allows; tell whether it came up."""
        deadline = StartDeadline(self._start_timeout_s, time.monotonic())
        started_s = time.monotonic()
        reason = ""  # its own, which may arrive a moment before it ends
        while not self._stopping.wait(START_POLL_S):
            self._promise("model", time.monotonic() + GRACE_S)
            if self._renewed():
                return False
            if self._start_if_due():
                started_s = time.monotonic()
                deadline = StartDeadline(self._start_timeout_s, started_s)
            elif self.pid is None:
                continue  # waiting for the back-off
            alive = self._child.is_alive()
            for event in self._child.poll():
                if event["event"] == "trying":
                    self._devices = list(event["devices"])
                elif deadline.note(event, time.monotonic()):
                    self._post(ModelStage(deadline.stage))
                elif event["event"] == "ready" and alive:
                    self._on_ready(event)
                    return True
                reason = str(event.get("reason", reason))
            if alive and not deadline.is_over(time.monotonic()):
                continue
            is_blamed = alive or not reason  # it gives a reason when no device is at fault, or every one of them
            if alive:
                self._child.kill()
                reason = f"The model was {deadline.words}, and was killed."
            elif not reason:
                reason = f"The model process {self._child.exit_reason or 'ended'}."
            if is_blamed:
                self._blame(reason, time.monotonic() - started_s)
            self._down(reason, hopeful=is_blamed and self._has_choice)
            return False
        return False

    @property
    def _has_choice(self) -> bool:
        """The process tried, or used, another device than the one that is left when all others fail."""
        return any(device != LAST_RESORT for device in self._devices)

    def _start_if_due(self) -> bool:
        """Start a process if its back-off has passed, and tell it which devices to leave out."""
        if not self._child.restart_due():
            return False
        self._trials.admit_due(time.monotonic())
        self._child.hello["left_out"] = self._trials.left_out()
        self._devices = []
        if not self._child.restart_if_due():
            return False
        self.pid = self._child.pid
        # After a failed start the next one is news only if it ends otherwise.
        level = logging.DEBUG if self._start_problem else logging.INFO
        log.log(level, "model starting pid=%s restarts=%d", self.pid, self._child.restarts)
        return True

    def _on_ready(self, event: dict[str, Any]) -> None:
        self._start_problem = None
        self._devices = list(event.get("devices", []))
        for device, reason in event.get("refused", {}).items():
            self._trials.refused(device, reason, time.monotonic())
            self.rungs.next_device += 1
        self._post(ModelReady(event.get("info", {})))

    def _serve(self) -> None:
        """Pass requests on until the process ends."""
        while not self._stopping.is_set():
            self._promise("model", time.monotonic() + GRACE_S)
            if self._renewed():
                return
            if self._trials.due(time.monotonic() - RETRY_ANYWAY_S):
                self._retry_devices()
                return
            try:
                request = self._requests.get(timeout=IDLE_POLL_S)
            except queue.Empty:
                if not self._child.is_alive():
                    self._fail(f"The model process {self._child.exit_reason}.")
                    return
                if self._trials.due(time.monotonic()):
                    self._retry_devices()
                    return
                continue
            if request is None or not self._ask(*request):
                return

    def _ask(self, number: int, request: dict[str, Any]) -> bool:
        """One request; False if the process did not survive it."""
        self._promise("model", time.monotonic() + self._request_timeout_s + GRACE_S)
        try:
            reply = self._child.request(request, timeout_s=self._request_timeout_s)
        except (ChildDiedError, ChildTimeoutError) as error:
            self._post(ModelLost(number, self._fail(str(error))))
            return False
        except ValueError as error:  # larger than the link takes
            reply = {"ok": False, "code": "bad_request", "message": str(error)}
        else:
            self._child.backoff.reset()
        self._post(ModelReply(number, reply))
        return True

    def _renewed(self) -> bool:
        """End the process if `renew` asked for it; tell whether it did."""
        if not self._renewal.is_set():
            return False
        self._renewal.clear()
        self._trials.clear()
        self._retire(f"The model process is restarted {self._renewal_reason}.")
        return True

    def _fail(self, otherwise: str) -> str:
        """A process that served has ended: tell, and return, what it gave as its reason, or else what is known."""
        reasons = [str(event["reason"]) for event in self._child.poll() if "reason" in event]
        reason = reasons[-1] if reasons else otherwise
        self._blame(reason)
        self._down(reason, hopeful=True)
        return reason

    def _blame(self, reason: str, lasted_s: float = 0.0) -> None:
        """Hold a failure, which took `lasted_s`, against the devices that the process tried or used."""
        for device in self._trials.blame(self._devices, reason, time.monotonic(), lasted_s):
            self.rungs.next_device += 1
            log.warning("device left out device=%s reason=%r", device, self._trials.left_out()[device])

    def _retry_devices(self) -> None:
        """Let the next process try the devices that have waited long enough."""
        self._retire(f"The model process is restarted to try {' and '.join(self._trials.due(time.monotonic()))} again.")

    def _retire(self, reason: str) -> None:
        """End a process that is not at fault; the next one starts at once."""
        log.info("model retires pid=%s reason=%r", self.pid, reason)
        self._child.backoff.reset()
        self._child.stop(GRACE_S / 4)
        self.pid = None
        self._post(ModelDown(reason, hopeful=True, asked=True))

    def _down(self, reason: str, *, hopeful: bool) -> None:
        self.pid = None
        if reason != self._start_problem:
            log.warning("model down hopeful=%s reason=%r", hopeful, reason)
        self._start_problem = None if hopeful else reason
        self._post(ModelDown(reason, hopeful))
