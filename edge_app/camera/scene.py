"""The demo camera: the drawn world of coloured shapes, in motion."""

from __future__ import annotations

from edge_app.camera import Picture
from edge_app.demo.motion import MovingScene
from edge_app.errors import CameraError
from edge_app.settings.camera import SCENE_OPTIONS


class SceneSource:
    """A MovingScene, one step a frame."""

    def __init__(self, options: str, *, size_px: int, fps: int) -> None:
        """`options` is empty or `seed=N`; the picture is square. CameraError for anything else."""
        match = SCENE_OPTIONS.fullmatch(options)
        if match is None:
            raise CameraError(f"The source scene:{options} has unknown options; write scene: or scene:seed=3.")
        seed = int(match[1] or 0)
        self._scene = MovingScene(seed, size_px=size_px)
        self.period_s = 1 / fps
        self.description = f"scene with seed {seed}, {size_px}x{size_px} at {fps} fps"

    def read(self) -> Picture:
        """The scene one step on."""
        self._scene.step()
        return self._scene.draw()

    def close(self) -> None:
        """Nothing is held."""
