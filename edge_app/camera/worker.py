"""A camera as a child process: its source into the shared frame buffer, for ever.

Started by the service as `python -m edge_app.camera.worker --link-fd N`. It reopens a source that fails, with a
back-off, and tells the parent only of changes. A read that never returns is the parent's business: the heart-beat in
the frame buffer stops, and the parent kills this process.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path

from edge_app.backoff import Backoff
from edge_app.camera import FrameSource, Picture, open_source
from edge_app.camera.content import AFTER_S, Content, ContentJudge
from edge_app.camera.view import View
from edge_app.child import ParentLink
from edge_app.errors import CameraError
from edge_app.frames import FrameBuffer
from edge_app.gate_meter import ChangeMeter
from edge_app.logs import set_up_logging
from edge_app.settings import CameraConfig

MAX_DAMAGED = 25  # frames in a row that cannot be decoded before the source is opened anew
WAIT_STEP_S = 0.2  # how often a wait looks whether the parent is still there
# No heart-beat comes while a source is opened. RTSP may take 5 s each to connect, to open, to find video; a device that
# takes longer than a few seconds hangs.
OPEN_ALLOWANCE_S = {"rtsp": 15.0, "rtsps": 15.0, "http": 15.0, "https": 15.0, "gst": 15.0}
LOCAL_OPEN_ALLOWANCE_S = 2.0
THAW_EVERY_S = 300.0  # a frozen camera is opened anew at most so often: it may well be frozen after it, too
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

    def __init__(
        self, link: ParentLink, config: CameraConfig, frames: FrameBuffer, content_after_s: float = AFTER_S
    ) -> None:
        self._link = link
        self._config = config
        self._frames = frames
        self._view = View(config.rotation, config.crop)
        # A camera that returns is to be seen within 5 s: a read that fails after 2 s, the longest wait, an opening.
        self._backoff = Backoff(0.5, 2.0)
        self._last_reason = ""
        self._judge = ContentJudge(content_after_s)
        newest = frames.latest_info()
        self._meter = ChangeMeter(newest.change if newest else 0)
        self._content: Content = "ok"
        self._thaw_at_s = 0.0

    def run(self) -> None:
        """Open, read until it fails, wait, open again; return when the parent has closed the link."""
        allowance_s = OPEN_ALLOWANCE_S.get(self._config.source.partition(":")[0], LOCAL_OPEN_ALLOWANCE_S)
        while self._link.is_open():
            self._beat(allowance_s)
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
        self._judge.begin_anew()
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
            image = self._view.of(image)
            captured_s = time.monotonic()
            if opened_s is None:  # told before the frame, with which the parent logs that the camera is online
                opened_s = captured_s
                self._last_reason = ""
                self._link.send({"event": "opened", "detail": source.description + self._what_is_used(image)})
            elif captured_s - opened_s > STEADY_S:
                # Not at the first frame: a source that gives one and fails would be opened twice a second for ever.
                self._backoff.reset()
            self._frames.write(image, ts=time.time(), captured_s=captured_s, change=self._meter.look(image))
            if source.period_s == 0:  # live: a still picture or a drawn scene may stand still as long as it likes
                self._look_at(image, captured_s)
            due_s = max(due_s + source.period_s, time.monotonic() - source.period_s)
            self._wait_until(due_s)

    def _what_is_used(self, image: Picture) -> str:
        """What becomes of the picture that was opened, as the end of a description; "" if it is used as it comes."""
        turned = f", turned by {self._config.rotation} degrees" if self._config.rotation else ""
        height_px, width_px = image.shape[:2]
        return turned + (f", cropped to {width_px}x{height_px}" if self._config.crop else "")

    def _look_at(self, image: Picture, now_s: float) -> None:
        """Tell the parent when the camera turns blind or sees again; CameraError to wake a frozen one up."""
        content = self._judge.judge(image, now_s)
        if content != self._content:
            self._content = content
            self._link.send({"event": "content", "content": content})
        if content == "frozen" and now_s >= self._thaw_at_s:
            self._thaw_at_s = now_s + THAW_EVERY_S
            raise CameraError(f"The picture of the camera {self._config.name} is frozen; the camera is opened again.")

    def _failed(self, error: CameraError) -> None:
        """Tell the parent why, once a reason, wait, and tell it that the source is opened again."""
        if str(error) != self._last_reason:
            self._last_reason = str(error)
            self._link.send({"event": "failed", "reason": str(error)})
        self._wait_until(time.monotonic() + self._backoff.next_s())
        self._link.send({"event": "reopen"})

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
    _keep_libraries_quiet()
    set_up_logging(link.hello.get("log_level", "INFO"))
    for name, value in LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, value)
    import cv2

    cv2.setNumThreads(1)  # the other cores are the model's
    config = CameraConfig.model_validate_json(json.dumps(link.hello["camera"]))  # strict types: a list is no tuple
    CameraWorker(link, config, FrameBuffer.attach(link.hello["frames_fd"])).run()
    return 0


def _keep_libraries_quiet() -> None:
    """Let the log be ours alone: libjpeg, for one, writes a line to stderr for every damaged picture of a bad cable."""
    sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="backslashreplace")
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
