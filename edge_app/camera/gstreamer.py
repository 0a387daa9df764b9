"""A GStreamer pipeline as a camera, where OpenCV has been built with it: MIPI cameras without a bridge.

OpenCV's wheels from PyPI are built without; distributions' packages and one's own builds mostly with it.
"""

from __future__ import annotations

import re
import time

import cv2

from edge_app.camera import Picture
from edge_app.camera.capture import retrieved
from edge_app.camera.pace import Pace
from edge_app.errors import CameraError

# Appended where the pipeline has no sink: BGR pictures, and of those only the newest.
SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
NOT_BUILT_IN = (
    "This OpenCV was built without GStreamer (cv2.getBuildInformation() says so), so a gst: source cannot be opened; "
    "use the bridge to a V4L2 device (docs/cameras.md, MIPI), or an OpenCV that has it."
)


class GStreamerSource:
    """Frames of a pipeline, as `gst-launch-1.0` takes it; at most `fps` of them are used."""

    period_s = 0.0

    def __init__(self, pipeline: str, *, fps: int) -> None:
        """Start `pipeline`, which may leave out its sink; CameraError when that is impossible here, or fails."""
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            raise CameraError(NOT_BUILT_IN)
        # Without limits of time, which OpenCV 4 refuses here: the parent replaces a process that hangs in a pipeline.
        self._capture = cv2.VideoCapture(with_sink(pipeline), cv2.CAP_GSTREAMER)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                "The GStreamer pipeline of the camera could not be started; try it with gst-launch-1.0, with "
                "fakesink for its sink, as the service's user."
            )
        self._pace = Pace(fps)
        width_px = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height_px = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.description = f"GStreamer pipeline: {width_px}x{height_px}, at most {fps} fps are used"

    def read(self) -> Picture | None:
        """The next frame that is due; None if it is of no use. CameraError when the pipeline ends."""
        while True:
            if not self._capture.grab():
                raise CameraError("The GStreamer pipeline gives no frames; it has ended.")
            if self._pace.takes(time.monotonic()):
                break
        return retrieved(self._capture)

    def close(self) -> None:
        """Stop the pipeline."""
        self._capture.release()


def with_sink(pipeline: str) -> str:
    """`pipeline`, with the sink that OpenCV reads from at its end if it has none."""
    pipeline = pipeline.strip().rstrip("!").strip()
    return pipeline if re.search(r"\bappsink\b", pipeline) else f"{pipeline} ! {SINK}"
