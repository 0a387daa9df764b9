"""A network camera: RTSP over TCP, or MJPEG over HTTP, through FFmpeg."""

from __future__ import annotations

import time

import cv2
import numpy as np

from edge_app.camera import Picture
from edge_app.errors import CameraError
from edge_app.settings import without_credentials

OPEN_TIMEOUT_MS = 5000
READ_TIMEOUT_MS = 2000  # FFmpeg's own would be 30 s; it never recovers from a stall, so the worker reopens


class StreamSource:
    """A live stream, read as fast as it comes so that nothing old waits in it; at most `fps` frames are decoded."""

    period_s = 0.0

    def __init__(self, url: str, *, fps: int) -> None:
        """Connect; CameraError when no video answers within 5 s. A password in `url` is never shown."""
        self._name = without_credentials(url)
        self._shortest_s = 1 / fps
        self._next_s = 0.0
        # OpenCV asks for RTSP over TCP by default: UDP loses packets, and a lost one smears the picture.
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
        self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                f"The stream {self._name} could not be opened within {OPEN_TIMEOUT_MS / 1000:g} s; "
                "check the address, user and password, and that the camera is on."
            )
        width_px = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height_px = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.description = f"{self._name}: {width_px}x{height_px}, at most {fps} fps are used"

    def read(self) -> Picture | None:
        """The next frame that is due; None if it could not be decoded. CameraError when the stream stops for 2 s."""
        while True:
            if not self._capture.grab():
                raise CameraError(f"The stream {self._name} has stopped; it will be opened again.")
            now_s = time.monotonic()
            if now_s >= self._next_s:
                break
        self._next_s = max(self._next_s + self._shortest_s, now_s)
        ok, image = self._capture.retrieve()
        if not ok or image is None or image.size == 0:
            return None
        return np.asarray(image, np.uint8)

    def close(self) -> None:
        """Disconnect."""
        self._capture.release()
