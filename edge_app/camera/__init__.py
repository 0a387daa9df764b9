"""Cameras: a source of frames behind one protocol, read by a child process into shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from edge_app.errors import CameraError
from edge_app.settings import SOURCE_KINDS, CameraConfig, without_credentials

if TYPE_CHECKING:
    # The service imports this package for its supervisor and never touches a pixel: without NumPy it is 10 MiB smaller.
    import numpy as np
    from numpy.typing import NDArray

Picture: TypeAlias = "NDArray[np.uint8]"


class FrameSource(Protocol):
    """Something that gives frames until it fails.

    Attributes:
        description: what was opened, and how what was got differs from what was asked.
        period_s: time between two frames for the reader to keep; 0 when `read` itself waits for the camera.
    """

    description: str
    period_s: float

    def read(self) -> Picture | None:
        """The next frame [H, W, 3] BGR, or None for one that was damaged; CameraError when there will be no more."""

    def close(self) -> None:
        """Let go of the device, connection or file."""


def open_source(config: CameraConfig) -> FrameSource:
    """Open the source that `config.source` names; CameraError when it cannot be opened or is of no known kind."""
    # Imported by kind: the demo's scene needs no FFmpeg, a USB camera needs no scene.
    kind, _, rest = config.source.partition(":")
    if kind in {"rtsp", "rtsps", "http", "https"}:
        from edge_app.camera.login import with_login
        from edge_app.camera.stream import open_stream

        return open_stream(with_login(config.source, config.credentials_file), fps=config.fps)
    if kind == "v4l2" or config.source.startswith("/dev/"):
        from edge_app.camera.v4l2 import V4l2Source

        device = rest if kind == "v4l2" else config.source
        return V4l2Source(device, width_px=config.width_px, height_px=config.height_px, fps=config.fps)
    if kind == "file":
        from edge_app.camera.files import open_files

        return open_files(rest, fps=config.fps)
    if kind == "gst":
        from edge_app.camera.gstreamer import GStreamerSource

        return GStreamerSource(rest, fps=config.fps)
    if kind == "scene":
        from edge_app.camera.scene import SceneSource

        return SceneSource(rest, size_px=config.height_px, fps=config.fps)
    raise CameraError(
        f"The source {without_credentials(config.source)!r} of camera {config.name} is of no known kind; "
        f"it begins with {', '.join(SOURCE_KINDS)}."
    )
