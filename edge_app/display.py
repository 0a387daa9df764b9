"""Shows the newest frame with the overlay on it, in a process of its own: a display driver or a disk may hang.

Started by the service as `python -m edge_app.display --link-fd N`; its death touches nothing else. A frame is on the
screen as soon as it is there, whatever the model is busy with; without a new one the ages go on.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.child import ParentLink
from edge_app.frames import FrameBuffer
from edge_app.logs import set_up_logging
from edge_app.overlay.drawing import Overlay, placeholder
from edge_app.overlay.state import OverlayState
from edge_app.screen.base import Screen, Size
from edge_app.screen.chosen import open_screen
from edge_app.screen.fit import fitted, own_size
from edge_app.settings import DisplayConfig

LOOK_S = 0.004  # between two looks for a new frame: a fraction of the shortest time between two, 17 ms
AGES_S = 0.25  # without a new frame the ages are told anew this often
ALIVE_S = 1.0  # between two signs of life; the service waits 15 s for one
RETRY_S = 1.0  # between two tries of a screen that refuses

log = logging.getLogger(__name__)


class States:
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


class Painter:
    """Puts the newest frame and the overlay together."""

    def __init__(self, buffers: Mapping[str, FrameBuffer], *, shows_picture: bool) -> None:
        self._buffers = dict(buffers)
        self._shows_picture = shows_picture
        self._overlay = Overlay()

    def newest_frame(self, state: OverlayState) -> int:
        """The frame_id of what would be shown; 0 without a frame."""
        buffer = self._buffers.get(state.camera)
        info = buffer.latest_info() if buffer else None
        return info.frame_id if info else 0

    def paint(self, state: OverlayState, size: Size | None) -> NDArray[np.uint8]:
        """The newest frame with the overlay on it, [H, W, 3] BGR of `size`; a plain picture where there is none."""
        buffer = self._buffers.get(state.camera)
        frame = buffer.latest() if buffer else None
        now_s = time.monotonic()
        if frame is None:
            image = placeholder(*size) if size else placeholder()
            remark = "no picture yet" if self._shows_picture else "the picture is not shown"
            self._overlay.draw(image, state, now_s=now_s, captured_s=None, remark=remark)
            return image
        image = fitted(frame.image, size or own_size(frame.image))
        self._overlay.draw(image, state, now_s=now_s, captured_s=frame.info.captured_s)
        return image


def show_until_ended(screen: Screen, painter: Painter, states: States, link: ParentLink) -> None:
    """Show pictures until the service closes the link: each new frame and state at once, the ages now and then."""
    problem = ""
    told: tuple[int, OverlayState | None] = (0, None)  # what the screen shows
    shown_s = alive_s = float("-inf")
    while not states.ended.is_set() and (state := states.newest) is not None:
        now_s = time.monotonic()
        newest = (painter.newest_frame(state), state)
        if newest != told or now_s - shown_s >= AGES_S:
            try:
                size = screen.prepare()
                screen.show(painter.paint(state, size))
            except OSError as error:
                if str(error) != problem:
                    log.warning("display cannot show the picture reason=%r", str(error))
                problem = str(error)
                states.ended.wait(RETRY_S)
            else:
                problem = ""
            told, shown_s = newest, now_s
        if now_s - alive_s >= ALIVE_S:
            link.send({"event": "alive"})
            alive_s = now_s
        states.ended.wait(max(LOOK_S, shown_s + screen.period_s - time.monotonic()))


def main(argv: list[str]) -> int:
    """Show pictures until the service closes the link."""
    link = ParentLink.from_args(argv)
    hello = link.hello
    set_up_logging(hello.get("log_level", "INFO"))
    # The parent closes the link before it sends SIGTERM; ignoring the signal lets a picture be finished.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(1)  # the cores belong to the model
    config = DisplayConfig.model_validate_json(json.dumps(hello["display"]))
    try:
        screen = open_screen(config)
    except OSError as error:
        log.error("display cannot start reason=%r", str(error))
        return 1
    buffers = {camera: FrameBuffer.attach(fd) for camera, fd in hello["frames"].items()}
    states = States(link)
    states.arrived.wait()
    try:
        show_until_ended(screen, Painter(buffers, shows_picture=config.picture), states, link)
    finally:
        screen.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
