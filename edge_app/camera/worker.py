"""A camera as a child process: its source into the shared frame buffer, for ever.

Started by the service as `python -m edge_app.camera.worker --link-fd N`. It reopens a source that fails, with a
back-off, and tells the parent only of changes. A read that never returns is the parent's business: the heart-beat in
the frame buffer stops, and the parent kills this process.
"""

from __future__ import annotations

import logging
import sys
import time

from edge_app.camera import FrameSource, open_source
from edge_app.child import Backoff, ParentLink
from edge_app.errors import CameraError
from edge_app.frames import FrameBuffer
from edge_app.logs import set_up_logging
from edge_app.settings import CameraConfig

MAX_DAMAGED = 25  # frames in a row that cannot be decoded before the source is opened anew
WAIT_STEP_S = 0.2  # how often a wait looks whether the parent is still there

log = logging.getLogger(__name__)


class CameraWorker:
    """Reads one camera until the parent goes away."""

    def __init__(self, link: ParentLink, config: CameraConfig, frames: FrameBuffer) -> None:
        self._link = link
        self._config = config
        self._frames = frames
        self._backoff = Backoff(0.5, 5.0)  # the camera must be back within seconds of its return
        self._last_reason = ""

    def run(self) -> None:
        """Open, read until it fails, wait, open again; return when the parent has closed the link."""
        while self._link.is_open():
            self._beat()
            try:
                source = open_source(self._config)
            except CameraError as error:
                self._failed(error)
                continue
            try:
                self._read(source)
            except CameraError as error:
                self._failed(error)
            finally:
                source.close()

    def _read(self, source: FrameSource) -> None:
        """Frames from `source` to the buffer until it fails (CameraError) or the parent goes."""
        due_s = time.monotonic()
        damaged = 0
        announced = False
        while self._link.is_open():
            self._beat()
            image = source.read()
            if image is None:
                damaged += 1
                if damaged >= MAX_DAMAGED:
                    raise CameraError(f"The camera {self._config.name} gave {damaged} damaged frames in a row.")
                continue
            damaged = 0
            self._frames.write(image, ts=time.time(), captured_s=time.monotonic())
            if not announced:  # a source that opens but gives nothing is not back
                announced = True
                self._opened(source)
            due_s = max(due_s + source.period_s, time.monotonic() - source.period_s)
            self._wait_until(due_s)

    def _opened(self, source: FrameSource) -> None:
        self._backoff.reset()
        self._last_reason = ""
        self._link.send({"event": "opened", "detail": source.description})

    def _failed(self, error: CameraError) -> None:
        """Tell the parent, once a reason, and wait."""
        if str(error) != self._last_reason:
            self._last_reason = str(error)
            self._link.send({"event": "failed", "reason": str(error)})
        self._wait_until(time.monotonic() + self._backoff.next_s())

    def _wait_until(self, until_s: float) -> None:
        while (left_s := until_s - time.monotonic()) > 0 and self._link.is_open():
            self._beat()
            time.sleep(min(left_s, WAIT_STEP_S))

    def _beat(self) -> None:
        self._frames.beat(time.monotonic())


def main(argv: list[str]) -> int:
    """Serve until the parent goes; 0."""
    link = ParentLink.from_args(argv)
    set_up_logging(link.hello.get("log_level", "INFO"))
    config = CameraConfig.model_validate(link.hello["camera"])
    CameraWorker(link, config, FrameBuffer.attach(link.hello["frames_fd"])).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
