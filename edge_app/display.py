"""Shows the newest frame with the overlay on it, in a process of its own: a display driver or a disk may hang.

Started by the service as `python -m edge_app.display --link-fd N`; its death touches nothing else.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.child import ParentLink
from edge_app.frames import FrameBuffer
from edge_app.logs import set_up_logging
from edge_app.overlay import OverlayState, placeholder, render
from edge_app.settings import DisplayConfig

LEAST_HEIGHT_PX = 720  # smaller pictures are enlarged, so that the text on them reads
SCREEN_SHAPE = 16 / 9  # width by height; narrower pictures get dark pillars, and the text the whole width
PILLAR_BGR = (28, 24, 22)
JPEG_SUFFIXES = {".jpg", ".jpeg"}

log = logging.getLogger(__name__)


class Display(Protocol):
    """Something that shows pictures."""

    period_s: float
    """Time between two pictures."""

    def show(self, image: NDArray[np.uint8]) -> None:
        """Show `image` [H, W, 3] BGR. OSError if it cannot."""

    def close(self) -> None:
        """Give the display back."""


class NullDisplay:
    """No display."""

    period_s = 1.0

    def show(self, image: NDArray[np.uint8]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class FileDisplay:
    """A picture file, replaced once a second: PNG, or JPEG if the name says so. A reader always finds a whole one."""

    period_s = 1.0

    def __init__(self, path: Path) -> None:
        self._path = path
        # One fixed name: what a killed process leaves behind is overwritten by the next one.
        self._part = path.with_name(f".{path.name}.part")
        self._suffix = ".jpg" if path.suffix.lower() in JPEG_SUFFIXES else ".png"
        # PNG with the least compression: twice the bytes of the default for a quarter of the time.
        self._options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if self._suffix == ".png" else []

    def show(self, image: NDArray[np.uint8]) -> None:
        """Write `image` [H, W, 3] BGR to the file. OSError if it cannot be written."""
        _, encoded = cv2.imencode(self._suffix, image, self._options)
        # Without fsync: a picture lost with the power is replaced a second after it is back.
        self._part.write_bytes(encoded.tobytes())
        self._part.replace(self._path)

    def close(self) -> None:
        """Leave the last picture, remove what was half written."""
        self._part.unlink(missing_ok=True)


def open_display(config: DisplayConfig) -> Display:
    """The display that the configuration asks for."""
    if config.backend == "file" and config.path is not None:
        return FileDisplay(config.path)
    return NullDisplay()


class _States:
    """The newest state that the parent sent, taken in by a thread; older ones are forgotten unread."""

    def __init__(self, link: ParentLink) -> None:
        self.arrived = threading.Event()  # the first state is there, or none will come
        self.ended = threading.Event()
        self.newest: OverlayState | None = None  # replaced as a whole, so it needs no lock
        self._link = link
        threading.Thread(target=self._run, name="state reader", daemon=True).start()

    def _run(self) -> None:
        while (message := self._link.receive()) is not None:
            self.newest = OverlayState.from_message(message["state"])
            self.arrived.set()
        self.ended.set()
        self.arrived.set()


def picture(buffer: FrameBuffer | None, state: OverlayState) -> NDArray[np.uint8]:
    """The newest frame of `buffer` with the overlay on it, [H, W, 3] BGR; a plain one where there is no frame."""
    frame = buffer.latest() if buffer else None
    now_s = time.monotonic()
    if frame is None:
        return render(placeholder(), state, now_s=now_s, captured_s=None)
    return render(_on_screen(frame.image), state, now_s=now_s, captured_s=frame.info.captured_s)


def _on_screen(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` [H, W, 3] in its own proportions, with at least LEAST_HEIGHT_PX rows, as wide as a screen at least."""
    height_px, width_px = image.shape[:2]
    if height_px < LEAST_HEIGHT_PX:
        width_px = max(1, round(width_px * LEAST_HEIGHT_PX / height_px))
        height_px = LEAST_HEIGHT_PX
        image = np.asarray(cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    missing_px = round(height_px * SCREEN_SHAPE) - width_px
    if missing_px <= 0:
        return image
    left_px = missing_px // 2
    sides = (left_px, missing_px - left_px)
    return np.asarray(cv2.copyMakeBorder(image, 0, 0, *sides, cv2.BORDER_CONSTANT, value=PILLAR_BGR), dtype=np.uint8)


def main(argv: list[str]) -> int:
    """Show pictures until the service closes the link."""
    link = ParentLink.from_args(argv)
    hello = link.hello
    set_up_logging(hello.get("log_level", "INFO"))
    # The parent closes the link before it sends SIGTERM; ignoring the signal lets a picture be finished.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)  # the cores belong to the model
    display = open_display(DisplayConfig.model_validate_json(json.dumps(hello["display"])))
    buffers = {camera: FrameBuffer.attach(fd) for camera, fd in hello["frames"].items()}
    states = _States(link)
    states.arrived.wait()
    problem = ""
    while not states.ended.is_set() and (state := states.newest) is not None:
        try:
            display.show(picture(buffers.get(state.camera), state))
        except OSError as error:
            if str(error) != problem:
                log.warning("display cannot show the picture reason=%r", str(error))
            problem = str(error)
        else:
            problem = ""
        link.send({"event": "alive"})
        states.ended.wait(display.period_s)
    display.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
