"""Frames that show nothing: a frozen or a black picture is told, and a frozen camera is opened anew, rarely."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_app.camera import Picture
from edge_app.camera.content import ContentJudge
from edge_app.camera.worker import CameraWorker
from edge_app.child import ParentLink
from edge_app.frames import FrameBuffer
from edge_app.settings import CameraConfig
from tests.broker import wait_until
from tests.streams import MjpegServer, picture


def noisy(level: int, number: int) -> Picture:
    """A dim picture with the noise of a sensor."""
    return np.random.default_rng(number).integers(level, level + 12, (240, 320, 3), np.uint8)


def judged(images: list[Picture]) -> list[str]:
    """What a judge says of one picture a second, with a patience of 10 s."""
    judge = ContentJudge(after_s=10)
    return [judge.judge(image, 1000.0 + number) for number, image in enumerate(images)]


def test_moving_and_noisy_pictures_are_ok() -> None:
    """A scene that moves, and one at rest with nothing but noise in it, are both pictures of a working camera."""
    assert set(judged([picture(number) for number in range(30)])) == {"ok"}
    assert set(judged([noisy(40, number) for number in range(30)])) == {"ok"}


def test_frozen_picture_is_told_after_its_time_and_taken_back_at_once() -> None:
    """The second of 12 like pictures is the first that is frozen; 10 s later it is told, until one differs."""
    assert judged([*[picture(1)] * 13, picture(2)]) == ["ok"] * 11 + ["frozen"] * 2 + ["ok"]


def test_black_picture_is_told_after_its_time_and_taken_back_at_once() -> None:
    """A covered lens is black, with or without noise; one lamp in the dark is a picture."""
    lamp = noisy(0, 99)
    lamp[128:144, 160:176] = 200
    noise = [noisy(0, number) for number in range(12)]
    assert judged([*noise, lamp]) == ["ok"] * 10 + ["black"] * 2 + ["ok"]
    assert judged([np.zeros((240, 320, 3), np.uint8)] * 14)[-1] == "black"


def test_frozen_camera_that_is_opened_again_stays_frozen_until_its_picture_changes() -> None:
    """It may show another picture after the opening, for ever: only the next one that differs shows that it sees."""
    judge = ContentJudge(after_s=10)
    assert [judge.judge(picture(1), 1000.0 + number) for number in range(12)][-1] == "frozen"
    judge.begin_anew()
    assert [judge.judge(picture(2), 1012.0 + number) for number in range(3)] == ["frozen"] * 3
    assert judge.judge(picture(3), 1015.0) == "ok"
    judge.begin_anew()
    assert judge.judge(picture(3), 1016.0) == "ok"


def test_change_of_size_is_no_freeze() -> None:
    """Pictures of different sizes are different pictures."""
    assert set(judged([picture(1), picture(1)[:100]] * 15)) == {"ok"}


class Parent:
    """The parent's end of a CameraWorker that runs in a thread, impatient with what its camera shows."""

    def __init__(self, source: str, content_after_s: float) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.frames = FrameBuffer.create("test")
        self.events: list[dict[str, Any]] = []
        config = CameraConfig(name="door", source=source, fps=25)
        worker = CameraWorker(ParentLink(theirs, {}), config, self.frames, content_after_s)
        self._thread = threading.Thread(target=worker.run, name="camera worker")
        self._thread.start()
        self._theirs = theirs

    def content(self) -> str | None:
        """What the camera was last said to show; all events that have arrived are kept."""
        self._ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.events.append(json.loads(self._ours.recv(65536)))
        return next((event["content"] for event in reversed(self.events) if event["event"] == "content"), None)

    def leave(self) -> None:
        """Close the link; the worker ends."""
        self._ours.close()
        self._thread.join(10)
        self._theirs.close()
        self.frames.close()


@pytest.fixture
def camera() -> Iterator[MjpegServer]:
    with MjpegServer() as server:
        yield server


@pytest.mark.parametrize("mode", ["black", "frozen"])
def test_worker_tells_of_a_blind_camera_and_of_its_recovery(camera: MjpegServer, mode: str) -> None:
    """The parent hears of each change and of nothing else; a frozen camera is opened anew, once."""
    before = open_fds()
    parent = Parent(camera.url, content_after_s=0.5)
    try:
        wait_until(parent.frames.latest_info, "the first frame")
        camera.tell(mode)
        wait_until(lambda: parent.content() == mode, "the camera to be found blind")
        told_at = newest(parent)
        wait_until(lambda: newest(parent) > told_at + 40, "more frames than the patience has")
        camera.tell("play")
        wait_until(lambda: parent.content() == "ok", "the camera to see again")
    finally:
        parent.leave()
    kinds = [event["event"] for event in parent.events]
    again = ["failed", "reopen", "opened"] if mode == "frozen" else []
    assert kinds == ["opened", "content", *again, "content"]
    assert open_fds() == before


def open_fds() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def newest(parent: Parent) -> int:
    info = parent.frames.latest_info()
    return info.frame_id if info else 0
