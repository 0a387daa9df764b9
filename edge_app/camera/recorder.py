"""Recording a camera: its frames as they come, and a private folder that keeps them."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import stat
import time
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np

from edge_app.camera import Picture
from edge_app.camera.supervisor import CameraSupervisor
from edge_app.errors import BadRequestError, CameraError, EdgeAppError
from edge_app.settings import CameraConfig

PATIENCE_S = 30.0  # without a new frame; the supervisor has opened the camera anew several times by then
MAX_IDENTICAL = 30  # frames in a row; a camera's noise makes any two differ
POLL_S = 0.05
STOP_S = 2.0  # for the camera's process to end
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def distinct_frames(config: CameraConfig, interval_s: float) -> Generator[Picture, None, None]:
    """The camera's newest frame [H, W, 3] BGR at every `interval_s`, left out where it is the one before it; endless.

    CameraError when the camera cannot be opened, gives nothing new for PATIENCE_S, or always the same.
    """
    supervisor = CameraSupervisor(config, log_level="ERROR")
    last: Picture | None = None
    identical = frame_id = 0
    due_s = time.monotonic()
    try:
        while True:
            frame_id, image = _await_frame(supervisor, config.name, after=frame_id)
            if last is None or not np.array_equal(image, last):
                last, identical = image, 0
                yield image
            else:
                identical += 1
                if identical == MAX_IDENTICAL:
                    raise CameraError(
                        f"The camera {config.name} gave the same picture {identical} times in a row, to the last bit; "
                        "it is frozen, or a file that does not change."
                    )
            due_s = max(due_s + interval_s, time.monotonic())
            while time.monotonic() < due_s:
                supervisor.poll(time.monotonic())
                time.sleep(min(POLL_S, max(0.0, due_s - time.monotonic())))
    finally:
        supervisor.stop(STOP_S)


def _await_frame(supervisor: CameraSupervisor, camera: str, *, after: int) -> tuple[int, Picture]:
    """Id and pixels of the first frame that is newer than the one with the id `after`; 0: of any.

    CameraError when none comes for PATIENCE_S, or at once when the camera has failed before its first one: a wrong
    address does not get better, a camera that has worked may come back.
    """
    before = supervisor.reason  # "starting", or what has been wrong for a while
    until_s = time.monotonic() + PATIENCE_S
    while True:
        supervisor.poll(time.monotonic())
        newest = supervisor.buffer.latest_info()
        if newest is not None and newest.frame_id > after and (frame := supervisor.buffer.latest()) is not None:
            return frame.info.frame_id, frame.image
        has_failed = after == 0 and supervisor.reason not in ("", before)
        if has_failed or time.monotonic() > until_s:
            why = supervisor.reason.rstrip(".") or f"nothing new came for {PATIENCE_S:g} s"
            raise CameraError(f"The camera {camera} gives no frame: {why}.")
        time.sleep(POLL_S)


class FrameFolder:
    """A folder that only its owner can read, with pictures named CAMERA-NUMBER.png; none is ever overwritten."""

    def __init__(self, path: Path, camera: str) -> None:
        """Name the folder, which is made when the first picture is saved.

        BadRequestError when it is there and is no folder, or one that other users may read: its rights are the
        owner's business, who may have a reason for them.
        """
        self.path = path.absolute()
        self._camera = camera
        self._number = 1
        try:
            mode = self.path.stat().st_mode
            if not stat.S_ISDIR(mode):
                raise BadRequestError(f"{self.path} is not a folder; name one that is there, or one to be made.")
            names = [file.name for file in self.path.iterdir()]
        except FileNotFoundError:
            return
        except OSError as error:
            raise _cannot_be("looked at", self.path, error) from error
        if mode & 0o077:
            raise BadRequestError(
                f"The folder {self.path} is open to other users (mode {mode & 0o777:04o}), and frames are private; run "
                f"chmod 700 {shlex.quote(str(self.path))}, or name a new folder."
            )
        pattern = re.compile(rf"{re.escape(camera)}-(\d+)\.png")
        self._number += max((int(match[1]) for name in names if (match := pattern.fullmatch(name))), default=0)

    def save(self, image: Picture) -> Path:
        """Write `image` [H, W, 3] BGR, to the last bit, under the next free number; EdgeAppError when that fails."""
        content = cv2.imencode(".png", image)[1].tobytes()
        try:
            self.path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            while True:
                path = self.path / f"{self._camera}-{self._number:06}.png"
                self._number += 1
                with contextlib.suppress(FileExistsError):  # another recording into this folder was faster
                    _write_new(path, content)
                    return path
        except OSError as error:
            raise _cannot_be("written to", self.path, error) from error


def _write_new(path: Path, content: bytes) -> None:
    """A file that was not there, whole or not at all."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except BaseException:  # Ctrl-C too
        path.unlink(missing_ok=True)
        raise


def _cannot_be(done: str, path: Path, error: OSError) -> EdgeAppError:
    return EdgeAppError(f"The folder {path} cannot be {done} ({error.strerror}); name another one.")
