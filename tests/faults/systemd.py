"""What systemd does for the unit of the node, as far as the watchdog goes: listen, count, end, and start again."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from typing import Self

from tests.faults.node import Node

ABORT_S = 5.0  # TimeoutAbortSec=5 of the unit: a stopped process does not die of SIGABRT
RESTART_S = 2.0  # RestartSec=2
POLL_S = 0.05


class Systemd:
    """Starts `node` as its unit says, and again whenever it has ended, until the `with` block is left.

    With `enforces` off it only listens: what is not fed is not ended, so that the node can show what it does itself.
    """

    def __init__(self, node: Node, *, watchdog_s: float, enforces: bool = True) -> None:
        self.ready_s: list[float] = []
        self.fed_s: list[float] = []
        self.exit_codes: list[int] = []
        """How each process of the service has ended; negative: by that signal."""
        self._node, self._watchdog_s, self._enforces = node, watchdog_s, enforces
        address = node.folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.settimeout(POLL_S)
        node.environ |= {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="systemd", daemon=True)

    def silent_s(self) -> float:
        """Seconds since it was last fed."""
        return time.monotonic() - max(self.fed_s, default=0.0)

    def __enter__(self) -> Self:
        self._node.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        started_s = time.monotonic()
        while not self._stop.is_set():
            self._listen()
            now_s = time.monotonic()
            is_watched = self._enforces and self.ready_s and self.ready_s[-1] > started_s
            if is_watched and now_s - max([self.ready_s[-1], *self.fed_s[-1:]]) > self._watchdog_s:
                self._abort()
            if not self._node.is_running:
                self.exit_codes.append(self._node.wait())
                self._stop.wait(RESTART_S)
                started_s = time.monotonic()
                if not self._stop.is_set():
                    self._node.start()

    def _listen(self) -> None:
        with contextlib.suppress(TimeoutError):
            said = self._socket.recv(4096).decode().splitlines()
            self.ready_s += [time.monotonic()] * ("READY=1" in said)
            self.fed_s += [time.monotonic()] * ("WATCHDOG=1" in said)

    def _abort(self) -> None:
        self._node.signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._node.wait(ABORT_S)
        if self._node.is_running:
            self._node.signal(signal.SIGKILL)
            self._node.wait()
