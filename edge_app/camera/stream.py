"""A network camera: RTSP over TCP, or video over HTTP, through FFmpeg; MJPEG over HTTP by our own reader."""

from __future__ import annotations

import socket
import time

import cv2

from edge_app.camera import FrameSource, Picture
from edge_app.camera.address import host_and_port
from edge_app.camera.capture import retrieved
from edge_app.camera.mjpeg import MjpegSource, is_mjpeg, open_http
from edge_app.camera.pace import Pace
from edge_app.errors import CameraError
from edge_app.settings import without_credentials

OPEN_TIMEOUT_MS = 5000
READ_TIMEOUT_MS = 2000  # FFmpeg's own would be 30 s; it never recovers from a stall, so the worker reopens


def open_stream(url: str, *, fps: float) -> FrameSource:
    """Connect to `url` (rtsp, rtsps, http, https); CameraError says why that failed."""
    if url.startswith(("http://", "https://")):
        response = open_http(url)
        if is_mjpeg(response):
            return MjpegSource(response, url, fps=fps)
        response.close()
    else:
        _check_reachable(url)
    return StreamSource(url, fps=fps)


def _check_reachable(url: str) -> None:
    """Connect and hang up: the system says what is wrong, and FFmpeg only that something is."""
    name = without_credentials(url)
    address = host_and_port(url)
    try:
        socket.create_connection(address, timeout=OPEN_TIMEOUT_MS / 1000).close()
    except OSError as error:
        raise CameraError(
            f"The camera at {name} cannot be reached ({error}); check the address, and that it is on."
        ) from error


class StreamSource:
    """A live stream, read as fast as it comes so that nothing old waits in it; at most `fps` frames are decoded."""

    period_s = 0.0

    def __init__(self, url: str, *, fps: float) -> None:
        """Connect; CameraError when no video answers within 5 s. A password in `url` is never shown."""
        self._name = without_credentials(url)
        self._pace = Pace(fps)
        # OpenCV asks for RTSP over TCP by default: UDP loses packets, and a lost one smears the picture.
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
        self._capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                f"The stream {self._name} could not be opened ({OPEN_TIMEOUT_MS / 1000:g} s were allowed); "
                "check the address, user and password, and that the camera is on."
            )
        width_px = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height_px = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.description = f"{self._name}: {width_px}x{height_px}, at most {fps:g} fps are used"

    def read(self) -> Picture | None:
        """The next frame that is due; None if it could not be decoded. CameraError when the stream stops for 2 s."""
        while True:
            started_s = time.monotonic()
            got = self._capture.grab()
            now_s = time.monotonic()
            # After its timeout FFmpeg hands out the frames that its decoder still held, as if nothing were wrong.
            if not got or now_s - started_s >= READ_TIMEOUT_MS / 1000:
                raise CameraError(f"The stream {self._name} has stopped; it will be opened again.")
            if self._pace.takes(now_s):
                break
        return retrieved(self._capture)

    def close(self) -> None:
        """Disconnect."""
        self._capture.release()
