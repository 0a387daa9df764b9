"""The overlay on an HDMI screen without a desktop: SDL draws through the kernel's mode setting (KMSDRM).

pygame-ce carries an SDL that can; it needs Mesa's libgbm, libegl and libgles from the system. `SDL_VIDEODRIVER` in the
environment chooses another of SDL's drivers, "offscreen" or "dummy" for one, which need no screen.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_app.screen.base import Size

if TYPE_CHECKING:
    import pygame  # imported where the environment is ready for it

DRM = Path("/sys/class/drm")
PLUG_CHECK_S = 1.0


def connectors(drm: Path = DRM) -> dict[str, str]:
    """What is plugged in, by the name of the connector: "connected", "disconnected" or "unknown"."""
    found = {}
    for status in drm.glob("card*-*/status"):
        try:
            found[status.parent.name] = status.read_text(encoding="ascii").strip()
        except OSError:  # a connector of a dock that went meanwhile
            continue
    return found


class Kms:
    """The whole screen, in the mode that it prefers. A screen that is plugged in later is opened then."""

    def __init__(self, fps: int, drm: Path = DRM) -> None:
        """ImportError if pygame-ce is not installed."""
        os.environ.setdefault("SDL_VIDEODRIVER", "kmsdrm")
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        import pygame

        self.period_s = 1 / fps
        self._pygame = pygame
        self._drm = drm
        self._surface: pygame.Surface | None = None
        self._plugged: dict[str, str] = {}
        self._checked_s = 0.0

    def prepare(self) -> Size | None:
        """Open the screen, again if a plug was pulled or put in, and return its size. OSError if there is none."""
        now_s = time.monotonic()
        if now_s - self._checked_s >= PLUG_CHECK_S:
            self._checked_s = now_s
            plugged = connectors(self._drm)
            if plugged != self._plugged:
                self.close()
            self._plugged = plugged
        if self._surface is None:
            self._surface = self._open()
        self._pygame.event.pump()
        return self._surface.get_size()

    def show(self, image: NDArray[np.uint8]) -> None:
        """Show `image` [H, W, 3] BGR. OSError if the driver refuses it."""
        if self._surface is None:
            raise OSError("The screen is not open.")
        height_px, width = image.shape[:2]
        try:
            self._surface.blit(self._pygame.image.frombuffer(image.data, (width, height_px), "BGR"), (0, 0))
            self._pygame.display.flip()
        except self._pygame.error as error:
            self.close()
            raise OSError(f"The screen takes no picture: {error}.") from error

    def close(self) -> None:
        """Give the screen back."""
        self._surface = None
        self._pygame.display.quit()

    def _open(self) -> pygame.Surface:
        try:
            self._pygame.display.init()
            surface = self._pygame.display.set_mode((0, 0), self._pygame.FULLSCREEN)
        except self._pygame.error as error:
            self._pygame.display.quit()
            raise OSError(
                f"SDL's driver {os.environ['SDL_VIDEODRIVER']} opens no screen: {error}. See that a screen is plugged "
                "in, that no desktop runs, that the user is in the group video, and that libgbm1, libegl1 and libgles2 "
                "are installed."
            ) from error
        self._pygame.mouse.set_visible(False)
        return surface
