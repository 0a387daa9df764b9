"""A real X server without a screen, and what is to be seen on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (1600, 900)
HAS_XVFB = shutil.which("Xvfb") is not None and shutil.which("ffmpeg") is not None


@contextmanager
def x_server() -> Iterator[str]:
    """An X server that ends with the block; its DISPLAY."""
    readable, writable = os.pipe()
    # The server chooses a free number and says it once it takes clients; it stays itself when the last of them goes.
    server = subprocess.Popen(
        [
            "Xvfb",
            "-displayfd",
            str(writable),
            "-screen",
            "0",
            f"{SIZE[0]}x{SIZE[1]}x24",
            "-nolisten",
            "tcp",
            "-noreset",
        ],
        pass_fds=[writable],
        stderr=subprocess.DEVNULL,
    )
    os.close(writable)
    try:
        with os.fdopen(readable, encoding="ascii") as said:
            number = said.readline().strip()
        assert number, "Xvfb has ended without a word"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)


def screenshot(display: str, folder: Path) -> NDArray[np.uint8]:
    """What the X server shows, [H, W, 3] BGR."""
    path = folder / "screenshot.png"
    grab = [
        "ffmpeg",
        "-loglevel",
        "error",
        "-y",
        "-f",
        "x11grab",
        "-draw_mouse",
        "0",
        "-video_size",
        f"{SIZE[0]}x{SIZE[1]}",
        "-i",
        display,
    ]
    subprocess.run([*grab, "-frames:v", "1", str(path)], check=True, timeout=60)
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, dtype=np.uint8)
