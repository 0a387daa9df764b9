"""A V4L2 device: USB cameras, and MIPI cameras behind a v4l2loopback bridge."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2

from edge_app.camera import Picture
from edge_app.camera.capture import retrieved
from edge_app.camera.jpeg import decode_jpeg
from edge_app.camera.pace import Pace
from edge_app.errors import CameraError

WANTED_FOURCC = "MJPG"  # raw formats of most USB cameras reach full size at 5 fps only


class V4l2Source:
    """One capture device, asked for MJPG at a size and rate; what it gives instead is told in `description`.

    JPEGs are taken as the camera sends them and decoded here, because OpenCV shows cut ones as if they were whole.
    """

    period_s = 0.0

    def __init__(self, device: str, *, width_px: int, height_px: int, fps: int) -> None:
        """Open `device`, a path such as /dev/video0 or a stable link under /dev/v4l/by-id/.

        Raises:
            CameraError: it is not there, may not be used, is busy, or is no capture device.
        """
        # Resolved at each opening: after it was unplugged the camera may come back under another number.
        path = Path(device).resolve()
        if not path.exists():
            raise CameraError(f"The camera {device} is not there; plug it in, or see `edge-app cameras` for its name.")
        if not os.access(path, os.R_OK | os.W_OK):
            raise CameraError(f"The camera {device} may not be used by this user; add it to the group `video`.")
        self._device = device
        # Always this backend by name: others can hang for ever on the nodes of Intel's IPU6.
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                f"The camera {device} could not be opened: another program may use it, or it is a metadata node; "
                "see `edge-app cameras`."
            )
        asked = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*WANTED_FOURCC),
            cv2.CAP_PROP_FRAME_WIDTH: width_px,
            cv2.CAP_PROP_FRAME_HEIGHT: height_px,
            cv2.CAP_PROP_FPS: fps,
            cv2.CAP_PROP_BUFFERSIZE: 1,  # the newest frame, not the oldest of four
        }
        for key, value in asked.items():
            self._capture.set(key, value)
        fourcc = fourcc_name(int(self._capture.get(cv2.CAP_PROP_FOURCC)))
        self._gives_jpeg = fourcc == WANTED_FOURCC and bool(self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))
        self._pace = Pace(fps)  # a camera may know no slower rate than its own
        got = _format(
            fourcc,
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            self._capture.get(cv2.CAP_PROP_FPS),
        )
        self.description = f"{device}: asked {_format(WANTED_FOURCC, width_px, height_px, fps)}, got {got}"

    def read(self) -> Picture | None:
        """The next frame that is due; None if it is damaged.

        Raises:
            CameraError: none came (unplugged, or stalled for 2 s).
        """
        while True:
            if not self._capture.grab():
                raise CameraError(f"The camera {self._device} gives no frames; it was unplugged, or it stalled.")
            if self._pace.takes(time.monotonic()):
                break
        image = retrieved(self._capture)
        if image is not None and self._gives_jpeg:
            return decode_jpeg(image.tobytes())
        return image

    def close(self) -> None:
        """Free the device."""
        self._capture.release()


def fourcc_name(code: int) -> str:
    """The four characters of a pixel format: 0x47504A4D is `MJPG`."""
    return code.to_bytes(4, "little").decode("ascii", "replace").strip()


def _format(fourcc: str, width_px: int, height_px: int, fps: float) -> str:
    return f"{width_px}x{height_px} {fourcc} {fps:g} fps"
