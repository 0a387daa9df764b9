"""The HDMI screen through SDL, on SDL's drivers that need no screen; the KMSDRM driver itself needs a board."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.child import Message
from edge_app.display_supervisor import DISPLAY_MODULE, DisplayChild
from edge_app.frames import FrameBuffer
from edge_app.overlay.state import OverlayState
from edge_app.screen.chosen import open_screen
from edge_app.screen.kms import Kms
from edge_app.settings import DisplayConfig

pygame = pytest.importorskip("pygame", reason="needs the extra display")
DEADLINE_S = 60.0


@pytest.fixture
def connector(tmp_path: Path) -> Path:
    """The kernel's word on the only plug: a screen is connected."""
    status = tmp_path / "card0-HDMI-A-1/status"
    status.parent.mkdir()
    status.write_text("connected\n", encoding="ascii")
    return status


@pytest.fixture(params=["dummy", "offscreen"])
def kms(request: pytest.FixtureRequest, connector: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kms]:
    monkeypatch.setenv("SDL_VIDEODRIVER", request.param)
    screen = Kms(60, drm=connector.parents[1])
    yield screen
    screen.close()


def on_screen() -> NDArray[np.uint8]:
    """What SDL shows, [H, W, 3] BGR."""
    return np.asarray(pygame.surfarray.array3d(pygame.display.get_surface()), np.uint8).transpose(1, 0, 2)[:, :, ::-1]


def noise(size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def test_screen_shows_the_very_pixels(kms: Kms) -> None:
    """A picture of the screen's size arrives pixel by pixel, colours in their order."""
    size = kms.prepare()
    assert size is not None
    image = noise(size)
    kms.show(image)
    assert np.array_equal(on_screen(), image)


def test_screen_is_opened_anew_when_a_plug_was_pulled(
    kms: Kms, connector: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells another state of a connector: SDL, which does not follow, is begun anew."""
    monkeypatch.setattr("edge_app.screen.kms.PLUG_CHECK_S", 0.0)
    kms.prepare()
    first = pygame.display.get_surface()
    kms.prepare()
    assert pygame.display.get_surface() is first
    connector.write_text("disconnected\n", encoding="ascii")
    size = kms.prepare()
    assert size is not None
    assert pygame.display.get_surface() is not first
    kms.show(noise(size))


def test_without_a_screen_the_reason_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SDL's words and what to look at; and the next try begins from the start."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "kmsdrm")
    screen = Kms(60, drm=tmp_path)
    for _ in range(2):
        with pytest.raises(OSError, match=r"kmsdrm opens no screen: .*plugged in"):
            screen.prepare()
    screen.close()


def test_process_shows_on_it_and_lives(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The display's process with this backend draws and draws, without a word of complaint."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "offscreen")
    buffer = FrameBuffer.create("door")
    buffer.write(noise((640, 480)), ts=0.0, captured_s=time.monotonic())
    hello = {"display": DisplayConfig(backend="kms").model_dump(mode="json"), "frames": {"door": buffer.fd}}
    child = DisplayChild("display", DISPLAY_MODULE, hello=hello, pass_fds=(buffer.fd,))
    child.start()
    try:
        assert child.tell({"state": OverlayState("door", caption="a cat").to_message()})
        deadline_s = time.monotonic() + DEADLINE_S
        signs: list[Message] = []
        while len(signs) < 3:  # the first comes after the first picture, and another each second
            assert child.is_alive()
            assert time.monotonic() < deadline_s
            signs += child.poll()
            time.sleep(0.02)
        assert all(sign == {"event": "alive"} for sign in signs)
        assert "display" not in capfd.readouterr().err
    finally:
        child.stop(1.0)
        buffer.close()


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pygame-ce the message says what to install, and who knows how: a board's Python has no pip."""
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(OSError, match=r"install edge-app\[display\], as edge-app doctor says"):
        open_screen(DisplayConfig(backend="kms"))
