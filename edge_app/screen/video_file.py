"""The overlay as a video file, bounded: a full one becomes the old one, and the old one goes."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.screen.base import Size

# By the file's suffix. Matroska and AVI can be played although their writer was killed, MP4 cannot.
CODECS = {".mkv": "mp4v", ".avi": "MJPG", ".mp4": "mp4v"}
MAX_REPEATS = 30  # pictures written at once after a pause; the rest of it is missing from the video


class VideoFile:
    """A video of `fps` pictures a second, each moment as long as it lasted, whenever pictures come."""

    def __init__(self, path: Path, fps: int, limit_mib: int) -> None:
        self.period_s = 1 / fps
        self._path = path
        self._old = path.with_name(f"{path.stem}.old{path.suffix}")
        self._fps = fps
        self._limit_bytes = limit_mib * 1024 * 1024
        self._writer: cv2.VideoWriter | None = None
        self._size: Size | None = None  # a video keeps the size of its first picture
        self._due_s = 0.0  # monotonic: when the next picture of the video is due

    def prepare(self) -> Size | None:
        """The size of the video that is being written; any for a new one."""
        return self._size

    def show(self, image: NDArray[np.uint8]) -> None:
        """Add `image` [H, W, 3] BGR as often as its time asks for. OSError if the file cannot be written."""
        if self._is_full():
            self.close()
        if self._writer is None:
            self._open((image.shape[1] // 2 * 2, image.shape[0] // 2 * 2))
        if self._writer is None or self._size is None:
            return
        now_s = time.monotonic()
        self._due_s = max(self._due_s, now_s - MAX_REPEATS / self._fps)
        while self._due_s <= now_s:
            self._writer.write(image[: self._size[1], : self._size[0]])
            self._due_s += 1 / self._fps

    def close(self) -> None:
        """End the video."""
        if self._writer is not None:
            self._writer.release()
        self._writer = self._size = None

    def _is_full(self) -> bool:
        """Whether a new file is due; one that somebody removed is as good as full."""
        try:
            return self._path.stat().st_size > self._limit_bytes
        except FileNotFoundError:
            return True

    def _open(self, size: Size) -> None:
        """Begin a video of `size`, whose sides are even, as its codec wants them."""
        if self._path.exists():
            self._path.replace(self._old)
        codec = CODECS[self._path.suffix.lower()]
        # FFmpeg by name: a chosen backend does not fall back to writing numbered pictures.
        writer = cv2.VideoWriter(str(self._path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), self._fps, size)
        if not writer.isOpened():
            raise OSError(f"The video {self._path} cannot be written; see that its folder is there and has room.")
        self._writer, self._size, self._due_s = writer, size, time.monotonic()
