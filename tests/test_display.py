"""The display's process: it shows what it is told, and its death or its stalling touches nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app import display, display_supervisor
from edge_app.child import ParentLink
from edge_app.display import Painter, States, show_until_ended
from edge_app.display_supervisor import DisplaySupervisor
from edge_app.frames import FrameBuffer
from edge_app.overlay.drawing import BACKGROUND_BGR
from edge_app.overlay.state import OverlayState
from edge_app.settings import DisplayConfig

DEADLINE_S = 20.0
STATE = OverlayState("door", camera_online=True, broker_online=True, caption="a cat", device="CPU")


@pytest.fixture
def buffer() -> Iterator[FrameBuffer]:
    """A camera's frame buffer that holds one green frame of 1280x720."""
    frames = FrameBuffer.create("door")
    frames.write(plain((0, 200, 0)), ts=time.time(), captured_s=time.monotonic())
    yield frames
    frames.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "overlay.png"


@pytest.fixture
def supervisor(buffer: FrameBuffer, path: Path) -> Iterator[DisplaySupervisor]:
    """A supervisor that shows `buffer` in the file `path`; nothing is started yet."""
    made = DisplaySupervisor(DisplayConfig(backend="file", path=path), {"door": buffer.fd})
    yield made
    made.stop()


def plain(colour: tuple[int, int, int], height_px: int = 720, width_px: int = 1280) -> NDArray[np.uint8]:
    return np.full((height_px, width_px, 3), colour, np.uint8)


def until(condition: Callable[[], bool], supervisor: DisplaySupervisor | None = None) -> None:
    """Poll the supervisor as the service does until `condition` holds; fail at the deadline."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {DEADLINE_S} s"
        if supervisor:
            supervisor.poll(time.monotonic())
        time.sleep(0.02)


def middle(path: Path) -> tuple[int, ...]:
    """The colour between the bands."""
    image = cv2.imread(str(path))
    assert image is not None
    return tuple(int(value) for value in image[image.shape[0] // 2, image.shape[1] // 2])


def test_newest_frame_is_shown_with_the_overlay(supervisor: DisplaySupervisor, buffer: FrameBuffer, path: Path) -> None:
    """The file has the frame between the bands and text in them, and follows the camera."""
    supervisor.update(STATE)
    until(path.exists, supervisor)
    assert middle(path) == (0, 200, 0)
    image = cv2.imread(str(path))
    assert image is not None
    assert np.any(np.all(image[-100:] == 255, axis=2)), "the caption is white"
    buffer.write(plain((200, 0, 0)), ts=time.time(), captured_s=time.monotonic())
    until(lambda: middle(path) == (200, 0, 0), supervisor)


def test_newest_state_is_shown(supervisor: DisplaySupervisor, path: Path) -> None:
    """A state given while the process runs replaces the one before."""
    supervisor.update(STATE)
    until(path.exists, supervisor)
    top_before = path.read_bytes()
    supervisor.update(OverlayState("nowhere"))
    until(lambda: middle(path) != (0, 200, 0), supervisor)  # no such camera: the placeholder
    assert path.read_bytes() != top_before


def test_small_frame_is_enlarged_and_stands_between_pillars(
    supervisor: DisplaySupervisor, buffer: FrameBuffer, path: Path
) -> None:
    """Text on 240 lines could not be read: 320x240 grows to 960x720, with a pillar of 160 columns on either side."""
    buffer.write(plain((0, 0, 200), 240, 320), ts=time.time(), captured_s=time.monotonic())
    supervisor.update(STATE)
    until(path.exists, supervisor)
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape == (720, 1280, 3)
    row = np.all(image[300] == (0, 0, 200), axis=1)
    assert (row.argmax(), row.sum()) == (160, 960)


def test_killed_process_is_replaced_and_shows_the_same_state(
    supervisor: DisplaySupervisor, buffer: FrameBuffer, path: Path
) -> None:
    """After kill -9 a new process starts, is told the state without a new `update`, and draws again."""
    supervisor.update(STATE)
    until(path.exists, supervisor)
    first = supervisor.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    buffer.write(plain((0, 0, 200)), ts=time.time(), captured_s=time.monotonic())
    until(lambda: supervisor.restarts == 1, supervisor)
    assert supervisor.pid not in (None, first)
    until(lambda: middle(path) == (0, 0, 200), supervisor)


def test_stalled_process_is_killed(supervisor: DisplaySupervisor, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that says nothing for STALL_S, as one that hangs in a driver, is killed and replaced."""
    supervisor.update(STATE)
    until(path.exists, supervisor)
    monkeypatch.setattr(display_supervisor, "STALL_S", 3.0)
    stalled = supervisor.pid
    assert stalled is not None
    os.kill(stalled, signal.SIGSTOP)
    until(lambda: supervisor.pid not in (None, stalled), supervisor)
    assert not Path(f"/proc/{stalled}").exists()


def test_supervisor_never_waits_for_a_stalled_process(supervisor: DisplaySupervisor, path: Path) -> None:
    """2,000 updates, far more than the link holds, return while the process reads none of them."""
    supervisor.update(STATE)
    until(path.exists, supervisor)
    assert supervisor.pid is not None
    os.kill(supervisor.pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + 10
    for number in range(2000):
        supervisor.update(OverlayState("door", caption="x" * 500 + str(number)))
        assert time.monotonic() < deadline_s, f"update number {number}"


def test_hostile_state_does_not_end_the_process(supervisor: DisplaySupervisor, path: Path) -> None:
    """NaN, lone surrogates, control codes and 10,000 characters arrive as something that can be drawn."""
    supervisor.update(
        OverlayState("door", caption="\ud800\x00\x1b[2J" + "😀" * 10_000, caption_confidence=float("nan"))
    )
    until(path.exists, supervisor)
    first = supervisor.pid
    path.unlink()
    until(path.exists, supervisor)
    assert (supervisor.pid, supervisor.restarts) == (first, 0)


def test_folder_that_is_missing_is_survived(
    buffer: FrameBuffer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """While the file cannot be written the process says so and stays, and writes when it can."""
    path = tmp_path / "later" / "overlay.png"
    supervisor = DisplaySupervisor(DisplayConfig(backend="file", path=path), {"door": buffer.fd})
    try:
        supervisor.update(STATE)
        until(lambda: "display cannot show the picture" in capfd.readouterr().err, supervisor)
        path.parent.mkdir()
        until(path.exists, supervisor)
        assert supervisor.restarts == 0
    finally:
        supervisor.stop()


def test_process_ends_when_it_is_stopped(supervisor: DisplaySupervisor, path: Path) -> None:
    """After `stop` there is no process, and no half-written file."""
    supervisor.update(STATE)
    until(path.exists, supervisor)
    pid = supervisor.pid
    supervisor.stop(5.0)
    assert not Path(f"/proc/{pid}").exists()
    assert list(path.parent.iterdir()) == [path]


def test_nothing_starts_without_a_backend(buffer: FrameBuffer) -> None:
    """With the backend "none" the same calls start no process."""
    supervisor = DisplaySupervisor(DisplayConfig(), {"door": buffer.fd})
    supervisor.update(STATE)
    supervisor.poll(time.monotonic())
    assert supervisor.pid is None
    supervisor.stop()


def test_nothing_starts_before_there_is_something_to_show(supervisor: DisplaySupervisor) -> None:
    """The process costs memory, so it waits for the first state."""
    supervisor.poll(time.monotonic())
    assert supervisor.pid is None


def test_without_the_picture_the_process_has_no_frames(buffer: FrameBuffer, path: Path) -> None:
    """With `picture = false` texts are shown on a plain ground, and the process maps no frame buffer at all."""
    supervisor = DisplaySupervisor(DisplayConfig(backend="file", path=path, picture=False), {"door": buffer.fd})
    try:
        supervisor.update(STATE)
        until(path.exists, supervisor)
        image = cv2.imread(str(path))
        assert image is not None
        assert tuple(image[200, 100]) == BACKGROUND_BGR
        assert not np.any(np.all(image == (0, 200, 0), axis=2))
        assert np.any(np.all(image[-100:] == 255, axis=2)), "the caption is white"
        assert "edge_app.frames" not in Path(f"/proc/{supervisor.pid}/maps").read_text(encoding="utf-8")
    finally:
        supervisor.stop()


class RecordingScreen:
    """A screen without a pace of its own that keeps the colours it was given."""

    period_s = 0.0

    def __init__(self) -> None:
        self.shown: list[int] = []

    def prepare(self) -> tuple[int, int]:
        return 320, 180

    def show(self, image: NDArray[np.uint8]) -> None:
        self.shown.append(int(image[90, 160, 0]))

    def close(self) -> None:
        """Nothing to give back."""


def test_every_frame_is_shown_while_the_model_says_nothing(
    buffer: FrameBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 frames, each written when the one before was on the screen, all get there; no state comes meanwhile."""
    monkeypatch.setattr(display, "AGES_S", 1000.0)  # it is the frame that makes it draw
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = ParentLink(theirs, {})
    screen = RecordingScreen()
    ours.send(json.dumps({"state": STATE.to_message()}).encode())
    states = States(link)
    painter = Painter({"door": buffer}, shows_picture=True)
    showing = threading.Thread(target=show_until_ended, args=(screen, painter, states, link))
    states.arrived.wait(DEADLINE_S)
    showing.start()
    for number in range(1, 51):
        buffer.write(plain((number, 0, 0), 180, 320), ts=time.time(), captured_s=time.monotonic())
        until(lambda wanted=number: wanted in screen.shown)  # type: ignore[misc]
    ours.close()
    showing.join(DEADLINE_S)
    assert not showing.is_alive()
