"""What a picture of the overlay costs: `python -m tests.bench.overlay`. One core, as in the display's process.

For each size, in milliseconds, medians: reading the camera's 1280x720 and fitting it; laying the overlay over it with
nothing new to draw, with the ages of another second, with a new caption. And the memory of the process.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
import time
from statistics import median

import cv2
import numpy as np

from edge_app.frames import FrameBuffer
from edge_app.overlay.drawing import Overlay
from edge_app.screen.fit import fitted
from tests.overlay.golden import NOW_S, STATES

SIZES = ((1280, 720), (1920, 1080), (3840, 2160))
ROUNDS = 200


def measure(width: int, height_px: int) -> dict[str, object]:
    """The times of one size, in ms."""
    cv2.setNumThreads(1)
    buffer = FrameBuffer.create("bench")
    buffer.write(np.random.default_rng(1).integers(0, 256, (720, 1280, 3), dtype=np.uint8), ts=0, captured_s=NOW_S)
    overlay = Overlay()
    state = dataclasses.replace(STATES["accented"], captioned_s=NOW_S)
    times_ms: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        started_s = time.perf_counter()
        frame = buffer.latest()
        assert frame is not None
        picture = fitted(frame.image, (width, height_px))
        fitted_s = time.perf_counter()
        times_ms.setdefault("read and fit", []).append(1000 * (fitted_s - started_s))
        captioned = dataclasses.replace(state, caption=f"{number}: {state.caption}")
        now_s = NOW_S + 2 * number
        for kind, at_s in (("new caption", now_s), ("nothing new", now_s), ("ages", now_s + 1)):
            copy = picture.copy()
            started_s = time.perf_counter()
            overlay.draw(copy, captioned, now_s=at_s, captured_s=at_s - 0.05)
            times_ms.setdefault(kind, []).append(1000 * (time.perf_counter() - started_s))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {
        **{kind: round(median(ms), 2) for kind, ms in times_ms.items()},
        "memory_mb": round(memory_mb),
    }


def main() -> None:
    """Each size in a process of its own, for its memory."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
        return
    for width, height_px in SIZES:
        command = [sys.executable, "-m", "tests.bench.overlay", str(width), str(height_px)]
        print(
            f"{width}x{height_px}", subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        )


if __name__ == "__main__":
    main()
