"""A V4L2 device for machines without one: a program started with its environment sees `path` as a camera."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2

from tests.streams import picture

SOURCE = Path(__file__).with_name("fake_v4l2.c")
COMPILER = shutil.which("cc")


class FakeCamera:
    """Cameras in the folder `dev`, which looks like /dev: one of a single format (MJPG 320x240, 25 fps), and others.

    One at a time can be open in a process, as many as there are in all.
    """

    def __init__(self, folder: Path) -> None:
        assert COMPILER is not None, "the fake camera is compiled on the spot; install a C compiler (gcc)"
        library, jpeg = folder / "fake_v4l2.so", folder / "picture.jpg"
        subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        cv2.imwrite(str(jpeg), picture(3))
        self.dev = folder / "dev"
        self.link = self.dev / "v4l" / "by-id" / "usb-fake"
        self.link.parent.mkdir(parents=True)
        self._mode = folder / "mode"
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKE_V4L2_DEVICES": str(self.dev / "video"),
            "FAKE_V4L2_JPEG": str(jpeg),
            "FAKE_V4L2_MODE": str(self._mode),
        }
        self.tell("play")
        self.plug_in()

    def plug_in(self, number: int = 0) -> None:
        """Let the device appear as videoN, with its stable link to it."""
        self.path = self.dev / f"video{number}"
        self.path.touch()
        self.link.symlink_to(self.path)

    def add(self, number: int, *lines: str) -> Path:
        """One more device videoN without links, that knows these: `MJPG 1280 720 30` each, or `metadata`."""
        path = self.dev / f"video{number}"
        path.write_text("\n".join(lines), encoding="ascii")
        return path

    def unplug(self) -> None:
        """Let the device go; the kernel's answer is ENODEV from now on."""
        self.link.unlink()
        self.path.unlink()

    def tell(self, mode: str) -> None:
        """Change what it does: play, stall, block (a read for ever), truncated (JPEGs), or metadata (no pictures)."""
        # Replaced as a whole: the device reads the file at any moment.
        waiting = self._mode.with_suffix(".new")
        waiting.write_text(mode, encoding="ascii")
        waiting.replace(self._mode)
