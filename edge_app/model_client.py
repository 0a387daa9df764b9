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

from edge_app.child import Backoff, Child
from edge_app.errors import ChildDiedError, ChildTimeoutError

START_POLL_S = 0.05
IDLE_POLL_S = 0.5
GRACE_S = 10  # what this thread may take beyond its deadlines: killing, reaping, starting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelReady:
    """The process has loaded its bundles; `info` says which, and on what device."""

    info: dict[str, Any]


@dataclass(frozen=True)
class ModelDown:
    """The process has ended; it will be started again. `asked`: because of `renew`, and for no fault of its own."""

    reason: str
    was_ready: bool
    asked: bool = False


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


ModelEvent = ModelReady | ModelDown | ModelReply | ModelLost


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
    ) -> None:
        self.pid: int | None = None
        self._start_problem: str | None = None  # why the last start failed; None after one that did not
        self._child = Child("model", module, hello=hello, pass_fds=pass_fds, backoff=Backoff(0.2, 30))
        self._start_timeout_s, self._request_timeout_s = start_timeout_s, request_timeout_s
        self._post, self._promise = post, promise
        self._requests: queue.SimpleQueue[tuple[int, dict[str, Any]] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._renewal = threading.Event()
        # The kernel ties the child's life to this thread (PR_SET_PDEATHSIG), so it must live as long as the child.
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    @property
    def restarts(self) -> int:
        """How often the process was started again."""
        return self._child.restarts

    def start(self) -> None:
        """Start the thread, which starts the process."""
        self._thread.start()

    def submit(self, number: int, request: dict[str, Any]) -> None:
        """Send a request; a ModelReply or a ModelLost with the same number follows."""
        self._requests.put((number, request))

    def renew(self) -> None:
        """Start a new process, which loads the bundles anew, as soon as the request in flight is done."""
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
        deadline_s = 0.0
        reason = ""  # its own, which may arrive a moment before it ends
        while not self._stopping.wait(START_POLL_S):
            self._promise("model", time.monotonic() + GRACE_S)
            if self._renewed():
                return False
            if self._child.restart_if_due():
                self.pid = self._child.pid
                deadline_s = time.monotonic() + self._start_timeout_s
                # After a failed start the next one is news only if it ends otherwise.
                level = logging.DEBUG if self._start_problem else logging.INFO
                log.log(level, "model starting pid=%s restarts=%d", self.pid, self._child.restarts)
            elif self.pid is None:
                continue  # waiting for the back-off
            alive = self._child.is_alive()
            for event in self._child.poll():
                if event["event"] == "ready" and alive:
                    self._start_problem = None
                    self._post(ModelReady(event.get("info", {})))
                    return True
                reason = str(event.get("reason", reason))
            if alive and time.monotonic() > deadline_s:
                self._child.kill()
                alive = False
                reason = f"The model was not ready after {self._start_timeout_s:g} s and was killed."
            if not alive:
                self._down(reason or f"The model process {self._child.exit_reason or 'ended'}.", was_ready=False)
                return False
        return False

    def _serve(self) -> None:
        """Pass requests on until the process ends."""
        while not self._stopping.is_set():
            self._promise("model", time.monotonic() + GRACE_S)
            if self._renewed():
                return
            try:
                request = self._requests.get(timeout=IDLE_POLL_S)
            except queue.Empty:
                if self._child.is_alive():
                    continue
                self._down(self._last_words(f"The model process {self._child.exit_reason}."), was_ready=True)
                return
            if request is None or not self._ask(*request):
                return

    def _ask(self, number: int, request: dict[str, Any]) -> bool:
        """One request; False if the process did not survive it."""
        self._promise("model", time.monotonic() + self._request_timeout_s + GRACE_S)
        try:
            reply = self._child.request(request, timeout_s=self._request_timeout_s)
        except (ChildDiedError, ChildTimeoutError) as error:
            reason = self._last_words(str(error))
            self._down(reason, was_ready=True)
            self._post(ModelLost(number, reason))
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
        log.info("model renewed pid=%s", self.pid)
        self._child.backoff.reset()
        self._child.kill()
        self.pid = None
        self._post(ModelDown("The model is started anew for other bundles.", was_ready=True, asked=True))
        return True

    def _last_words(self, otherwise: str) -> str:
        """What the process gave as its reason before it ended."""
        reasons = [str(event["reason"]) for event in self._child.poll() if "reason" in event]
        return reasons[-1] if reasons else otherwise

    def _down(self, reason: str, *, was_ready: bool) -> None:
        self.pid = None
        if reason != self._start_problem:
            log.warning("model down was_ready=%s reason=%r", was_ready, reason)
        self._start_problem = None if was_ready else reason
        self._post(ModelDown(reason, was_ready))
