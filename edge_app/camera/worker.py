"""A camera as a child process: its source into the shared frame buffer, for ever.

Started by the service as `python -m edge_app.camera.worker --link-fd N`. It reopens a source that fails, with a
back-off, and tells the parent only of changes. A read that never returns is the parent's business: the heart-beat in
the frame buffer stops, and the parent kills this process.
"""

from __future__ import annotations

import logging
import os
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
OPEN_ALLOWANCE_S = 6.0  # a stream may take 5 s to open or to fail; no heart-beat can be given meanwhile
STEADY_S = 5.0  # a source that has given frames for so long is well again

# OpenCV and FFmpeg read these from the environment, OpenCV when it is imported.
LIBRARY_SETTINGS = {
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "2",  # seconds; a stalled camera would block a read for 10 s
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp",  # over UDP a lost packet smears the picture
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(1 << 26),  # 64 megapixels: a JPEG header cannot ask for more memory
    # Both write several lines at each attempt to reach a camera that is off; what matters is in our own messages.
    "OPENCV_LOG_LEVEL": "ERROR",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
}

log = logging.getLogger(__name__)


class CameraWorker:
    """Reads one camera until the parent goes away."""

    def __init__(self, link: ParentLink, config: CameraConfig, frames: FrameBuffer) -> None:
        self._link = link
        self._config = config
        self._frames = frames
        self._backoff = Backoff(0.5, 3.0)  # a camera that returns is to be seen within 5 s, opening included
        self._last_reason = ""

    def run(self) -> None:
        """Open, read until it fails, wait, open again; return when the parent has closed the link."""
        while self._link.is_open():
            self._beat(OPEN_ALLOWANCE_S)
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
        opened_s: float | None = None  # when its first frame came: a source that opens but gives nothing is not back
        while self._link.is_open():
            self._beat()
            image = source.read()
            if image is None:
                damaged += 1
                if damaged >= MAX_DAMAGED:
                    raise CameraError(f"The camera {self._config.name} gave {damaged} damaged frames in a row.")
                continue
            damaged = 0
            captured_s = time.monotonic()
            self._frames.write(image, ts=time.time(), captured_s=captured_s)
            if opened_s is None:
                opened_s = captured_s
                self._last_reason = ""
                self._link.send({"event": "opened", "detail": source.description})
            elif captured_s - opened_s > STEADY_S:
                # Not at the first frame: a source that gives one and fails would be opened twice a second for ever.
                self._backoff.reset()
            due_s = max(due_s + source.period_s, time.monotonic() - source.period_s)
            self._wait_until(due_s)

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

    def _beat(self, allowance_s: float = 0.0) -> None:
        """Give a sign of life, and ask not to be expected back for `allowance_s`."""
        self._frames.beat(time.monotonic() + allowance_s)


def main(argv: list[str]) -> int:
    """Serve until the parent goes; 0."""
    link = ParentLink.from_args(argv)
    set_up_logging(link.hello.get("log_level", "INFO"))
    for name, value in LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, value)
    config = CameraConfig.model_validate(link.hello["camera"])
    CameraWorker(link, config, FrameBuffer.attach(link.hello["frames_fd"])).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
