"""From the configuration to a screen."""

from __future__ import annotations

from edge_app.screen.base import NoScreen, Screen
from edge_app.screen.picture_file import PictureFile
from edge_app.screen.video_file import CODECS, VideoFile
from edge_app.settings import DisplayConfig

SCREEN_FPS = 60
VIDEO_FPS = 10
PICTURE_FPS = 1


def open_screen(config: DisplayConfig) -> Screen:
    """The screen that the configuration asks for. OSError if what it needs is not installed."""
    match config.backend:
        case "kms":
            try:
                from edge_app.screen.kms import Kms

                return Kms(config.fps or SCREEN_FPS)
            except ImportError as error:
                raise OSError(f"{error}; install edge-app[display], as edge-app doctor says.") from error
        case "window":
            from edge_app.screen.window import Window

            return Window(config.fps or SCREEN_FPS)
        case "file" if config.path is not None:
            if config.path.suffix.lower() in CODECS:
                return VideoFile(config.path, config.fps or VIDEO_FPS, config.video_mib)
            return PictureFile(config.path, config.fps or PICTURE_FPS)
        case _:
            return NoScreen()
