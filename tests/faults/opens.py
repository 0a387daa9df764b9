"""Open a camera, take a frame, close it, many times: `python -m tests.faults.opens SOURCE TIMES` for row C8.

Prints a JSON object: `descriptors` and `rss_kib`, each before and after. What an opening loads and keeps for good, such
as libraries, is there before: the first openings do not count.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil

from edge_app.camera import open_source
from edge_app.settings import CameraConfig

FIRST = 30


def main(source: str, times: int) -> None:
    """Open, read, close; the counts."""
    config = CameraConfig(name="door", source=source, fps=120)
    told: dict[str, list[int]] = {"descriptors": [], "rss_kib": []}
    for count in (FIRST, times):
        for _ in range(count):
            camera = open_source(config)
            while camera.read() is None:
                pass
            camera.close()
        told["descriptors"].append(len(list(Path("/proc/self/fd").iterdir())))
        told["rss_kib"].append(psutil.Process().memory_info().rss // 1024)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
