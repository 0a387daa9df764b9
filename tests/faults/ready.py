"""A stand-in for systemd's end of sd_notify(3): hears `READY=1` and what else a service says."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

from tests.broker import wait_until


class NotifySocket:
    """Listens at a path that a service is given as NOTIFY_SOCKET."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.heard: list[tuple[float, str]] = []
        """`(monotonic time, assignment)`, such as `READY=1`."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._thread = threading.Thread(target=self._listen, name="notify", daemon=True)
        self._thread.start()

    def ready_s(self, since_s: float, timeout_s: float = 20) -> float:
        """Seconds from a moment of the monotonic clock until the first READY=1 after it."""

        def ready() -> list[float]:
            return [heard_s for heard_s, line in list(self.heard) if line == "READY=1" and heard_s >= since_s]

        first_s: float = wait_until(ready, "READY=1", timeout_s)[0]
        return first_s - since_s

    def close(self) -> None:
        """Stop listening."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            now_s = time.monotonic()
            self.heard += [(now_s, line) for line in message.decode().splitlines()]
