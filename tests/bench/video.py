"""What a measured camera shows: the demo's world in motion as a 720p video in motion JPEG, as USB cameras send it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_app.demo.motion import MovingScene
from edge_app.demo.service import SCENE_SEED
from edge_app.model.work import Picture

WIDTH_PX, HEIGHT_PX = 1280, 720
DRAWN_PX = 480  # the scene is drawn small and enlarged, which takes a sixth of the time
SECONDS = 4  # then it begins again


def write_video(path: Path, *, fps: int) -> Path:
    """Write SECONDS of the scene, in the middle of a grey 1280x720, and return the path."""
    scene = MovingScene(SCENE_SEED, size_px=DRAWN_PX)
    left_px = (WIDTH_PX - HEIGHT_PX) // 2
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (WIDTH_PX, HEIGHT_PX))
    for _ in range(SECONDS * fps):
        scene.step()
        frame = np.full((HEIGHT_PX, WIDTH_PX, 3), 128, np.uint8)
        frame[:, left_px : left_px + HEIGHT_PX] = cv2.resize(scene.draw(), (HEIGHT_PX, HEIGHT_PX))
        writer.write(frame)
    writer.release()
    return path


def read_video(path: Path) -> list[Picture]:
    """All frames, [720, 1280, 3] BGR."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while True:
        ok, image = capture.read()
        if not ok:
            break
        frames.append(np.asarray(image, np.uint8))
    capture.release()
    return frames
