"""Frames from files: a video, one picture, or a folder of pictures; and how any picture file is read."""

from __future__ import annotations

import logging
import stat
from collections import deque
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from edge_app.camera import FrameSource, Picture
from edge_app.errors import BadRequestError, CameraError

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
MAX_PICTURE_BYTES = 256 << 20
MAX_PICTURE_PX = 100_000_000  # 100 megapixels take 300 MB as BGR: enough for any camera, not for a bomb

log = logging.getLogger(__name__)


def load_image(path: Path) -> Picture:
    """Read a picture file as [H, W, 3] BGR: grey and 16-bit ones converted, turned upright by EXIF, alpha dropped.

    Raises:
        BadRequestError: there is no such file, it is no picture, or one too large to be meant.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a folder, a device, or a pipe, which might be read for ever
            raise BadRequestError(f"{path} is not a plain file; give a JPEG or PNG.")
        size_bytes = status.st_size
        # What says 0 bytes is not read: some files of the kernel say so too, and wait for ever for the next event.
        content = path.read_bytes() if 0 < size_bytes <= MAX_PICTURE_BYTES else b""
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    if size_bytes == 0:
        raise BadRequestError(f"{path} is empty (0 bytes); give a JPEG or PNG.")
    if size_bytes > MAX_PICTURE_BYTES:
        raise BadRequestError(f"{path} has {size_bytes} bytes; pictures of up to {MAX_PICTURE_BYTES} are read.")
    width_px, height_px = _size_by_header(path, content)
    if width_px * height_px > MAX_PICTURE_PX:
        raise BadRequestError(
            f"{path} says it is {width_px}x{height_px}; "
            f"pictures of up to {MAX_PICTURE_PX // 10**6} megapixels are read."
        )
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # more pixels than OPENCV_IO_MAX_IMAGE_PIXELS, where that is less than ours
        raise BadRequestError(
            f"{path} is {width_px}x{height_px}, too large for OpenCV here; make it smaller."
        ) from error
    if image is None or image.size == 0:
        raise BadRequestError(f"{path} is damaged and cannot be decoded; give a JPEG or PNG.")
    return np.asarray(image, np.uint8)


def _size_by_header(path: Path, content: bytes) -> tuple[int, int]:
    """(width_px, height_px) without decoding, so that a header cannot make us allocate what it likes."""
    try:
        with Image.open(BytesIO(content)) as header:
            return header.size
    except Image.DecompressionBombError as error:
        raise BadRequestError(f"{path} is too large to be a photo: {error}") from error
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow's readers raise on foreign bytes
        raise BadRequestError(f"{path} is not a picture; give a JPEG or PNG.") from error


def open_files(name: str, *, fps: int) -> FrameSource:
    """A video, a picture or a folder of pictures, shown over and over; CameraError when there is nothing to show."""
    try:
        path = Path(name).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError) as error:  # RuntimeError: ~name of an unknown user
        raise CameraError(f"{name} cannot be looked at ({error}); check the camera's source.") from error
    if not (is_folder or is_file):
        raise CameraError(f"There is no file or folder {path}; check the camera's source.")
    return PictureSource(path, fps=fps) if is_folder or _is_picture(path) else VideoSource(path)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


class PictureSource:
    """A picture, or those of a folder in turn, over and over.

    The folder is read anew for each round, so that pictures may come, go and change. One that cannot be read is left
    out, told once, and tried again when its file has changed.
    """

    def __init__(self, path: Path, *, fps: int) -> None:
        """Show `path`; CameraError for a folder without pictures."""
        self._path = path
        self._round: deque[Path] = deque()  # what is still to be shown of it
        self._bad: dict[Path, tuple[tuple[int, ...], str]] = {}  # the state of the file, and why it was left out
        self._untold: list[str] = []
        self._begin_round()
        self.period_s = 1 / fps
        pictures = "1 picture" if len(self._round) == 1 else f"{len(self._round)} pictures"
        self.description = f"{path}: {pictures} at {fps} fps"

    def read(self) -> Picture:
        """The next readable picture; CameraError when a whole round has none."""
        for is_new in (False, True):
            if is_new:
                self._begin_round()
            while self._round:
                image = self._load(self._round.popleft())
                if image is None:
                    continue
                for problem in self._untold:
                    log.warning("picture left out reason=%r", problem)
                self._untold.clear()
                return image
        # The reason goes into the error and not into the log: the source is opened again and again.
        _, first = next(iter(self._bad.values()))
        raise CameraError(f"None of the {len(self._bad)} pictures of {self._path} can be read, for example: {first}")

    def close(self) -> None:
        """Nothing is held."""

    def _begin_round(self) -> None:
        try:
            paths = [self._path]
            if self._path.is_dir():
                paths = sorted(file for file in self._path.iterdir() if _is_picture(file))
        except OSError as error:
            raise CameraError(f"{self._path} cannot be looked at ({error}); check the camera's source.") from error
        if not paths:
            raise CameraError(f"The folder {self._path} has no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}).")
        self._round = deque(paths)
        self._bad = {path: self._bad[path] for path in paths if path in self._bad}

    def _load(self, path: Path) -> Picture | None:
        """The picture, or None, with the reason noted, if it cannot be read."""
        state = _state(path)
        if path in self._bad and self._bad[path][0] == state:
            return None
        try:
            image = load_image(path)
        except BadRequestError as error:
            self._bad[path] = (state, str(error))
            self._untold.append(str(error))
            return None
        self._bad.pop(path, None)
        return image


def _state(path: Path) -> tuple[int, ...]:
    """What differs when a file is written or replaced; empty if there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()  # reading it will say why
    return (status.st_ino, status.st_size, status.st_mtime_ns)


class VideoSource:
    """A video at its own frame rate, begun again at its end."""

    def __init__(self, path: Path) -> None:
        """Open `path`; CameraError when FFmpeg cannot."""
        self._path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(f"{path} is not a video that can be played; convert it to H.264 or MJPEG.")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self._fps = fps if 0 < fps <= 240 else 25.0  # some containers do not say, or say 90000
        self.period_s = 1 / self._fps
        self.description = f"{path}: video at {self._fps:g} fps"

    def read(self) -> Picture:
        """The next frame; CameraError when the file has none that can be decoded."""
        for _ in range(2):
            ok, image = self._capture.read()
            if ok and image is not None:
                return np.asarray(image, np.uint8)
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        raise CameraError(f"{self._path} has no frame that can be decoded; convert it to H.264 or MJPEG.")

    def close(self) -> None:
        """Close the file."""
        self._capture.release()
