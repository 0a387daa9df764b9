"""The window, on a real X server: what is shown is what was drawn, and closing it or the server harms nobody."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.display_supervisor import DisplaySupervisor
from edge_app.frames import FrameBuffer
from edge_app.overlay.drawing import render
from edge_app.overlay.state import OverlayState
from edge_app.screen.window import Window
from edge_app.settings import DisplayConfig
from tests.screen import xvfb

pytestmark = pytest.mark.skipif(not xvfb.HAS_XVFB, reason="needs Xvfb and ffmpeg")

DEADLINE_S = 120.0
PATIENCE_S = 8.0
GREEN = (0, 200, 0)
# Nothing in it depends on the moment: no age of the caption.
STATE = OverlayState(
    "door", camera_online=True, broker_online=True, caption="a cat on a chair", device="CPU", rules=(("cat", "ON"),)
)


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    with xvfb.x_server() as name:
        yield name


def shown_by(supervisor: DisplaySupervisor, display: str, folder: Path, share: float) -> NDArray[np.uint8]:
    """The first screenshot of which at least `share` is green.

    On a server without a window manager about every fifth process of Qt maps its window and never paints it, for a
    reason that we have not found; such a process is ended, and the next one tries.
    """
    supervisor.update(STATE)
    deadline_s = time.monotonic() + DEADLINE_S
    patience_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        supervisor.poll(time.monotonic())
        image = xvfb.screenshot(display, folder)
        if np.mean(np.all(image == GREEN, axis=2)) >= share:
            return image
        if time.monotonic() > patience_s and supervisor.pid is not None:
            os.kill(supervisor.pid, signal.SIGKILL)
            patience_s = time.monotonic() + PATIENCE_S
    raise AssertionError(f"no green picture within {DEADLINE_S} s")


@pytest.fixture
def buffer() -> Iterator[FrameBuffer]:
    frames = FrameBuffer.create("door")
    frames.write(np.full((720, 1280, 3), GREEN, np.uint8), ts=0.0, captured_s=time.monotonic() - 7200)
    yield frames
    frames.close()


def test_window_shows_frame_and_overlay(
    display: str, buffer: FrameBuffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The screenshot has, in 1280x720 pixels of the desktop, the very pixels of the drawing."""
    monkeypatch.setenv("DISPLAY", display)
    supervisor = DisplaySupervisor(DisplayConfig(backend="window"), {"door": buffer.fd})
    try:
        image = shown_by(supervisor, display, tmp_path, 0.3)
    finally:
        supervisor.stop()
    now_s = time.monotonic()
    drawn = render(np.full((720, 1280, 3), GREEN, np.uint8), STATE, now_s=now_s, captured_s=now_s - 7200)
    assert np.array_equal(image[:720, :1280], drawn)


def test_window_is_back_after_the_x_server_was(
    buffer: FrameBuffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A desktop that ends takes the display's process with it, and nothing else; a new process shows on a new one."""
    supervisor = DisplaySupervisor(DisplayConfig(backend="window"), {"door": buffer.fd})
    try:
        with xvfb.x_server() as first:
            monkeypatch.setenv("DISPLAY", first)
            shown_by(supervisor, first, tmp_path, 0.3)
        with xvfb.x_server() as second:
            monkeypatch.setenv("DISPLAY", second)
            shown_by(supervisor, second, tmp_path, 0.3)
        assert supervisor.restarts >= 1
    finally:
        supervisor.stop()


@pytest.mark.parametrize(
    ("display", "told"),
    [
        (None, "DISPLAY is not set.*kms"),
        (":987", "The desktop :987 cannot be reached .No such file or directory.; start it"),
        ("127.0.0.1:987", "The desktop 127.0.0.1:987 cannot be reached .Connection refused.; start it"),
        ("the screen", "DISPLAY is 'the screen'; it has to be like :0"),
    ],
)
def test_without_a_desktop_the_reason_is_told(display: str | None, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qt would end the process without a word to the service; we say what is missing, and what else there is."""
    monkeypatch.delenv("DISPLAY", raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(OSError, match=told):
        Window(60).prepare()
