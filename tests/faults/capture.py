"""Watches the capture of a running node from outside: through the shared memory that its camera process writes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType

from edge_app.frames import FrameBuffer
from tests.faults.node import Node

LOOK_S = 0.005


class CaptureWatch:
    """The longest time between two frames while the block runs."""

    def __init__(self, node: Node) -> None:
        self.longest_pause_ms = 0.0
        self._fd = _open_frames(node.pid)
        self._frames = FrameBuffer.attach(self._fd)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="capture watch", daemon=True)

    def _watch(self) -> None:
        newest_s = time.monotonic()
        while not self._stop.wait(LOOK_S):
            frame = self._frames.latest_info()
            if frame is not None and frame.captured_s > newest_s:
                self._note(frame.captured_s - newest_s)
                newest_s = frame.captured_s
        self._note(time.monotonic() - newest_s)  # one that has not ended is a pause too

    def _note(self, pause_s: float) -> None:
        self.longest_pause_ms = max(self.longest_pause_ms, pause_s * 1000)

    def __enter__(self) -> CaptureWatch:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._frames.close()
        os.close(self._fd)


def _open_frames(pid: int) -> int:
    """A descriptor of our own of the first frame buffer of a service."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if "edge_app.frames." in str(entry.readlink()):
            return os.open(entry, os.O_RDWR)
    raise AssertionError(f"the service {pid} holds no frame buffer")
