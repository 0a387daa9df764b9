"""Real photos for the tests: a folder when one is given, and those that installed packages bundle."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

# Pictures among scikit-image's data files that come with the wheel itself (others would be downloaded).
_SKIMAGE = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "hubble_deep_field.jpg",
    "camera.png",
    "coins.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "ihc.png",
    "moon.png",
    "cell.png",
    "clock_motion.png",
    "page.png",
    "text.png",
    "brick.png",
    "grass.png",
    "gravel.png",
    "logo.png",
)
_SKLEARN = ("china.jpg", "flower.jpg")


def photo_paths() -> list[Path]:
    """Photos in a fixed order: `EDGE_APP_PHOTOS`, else `../shared/photos`, then those of the packages."""
    given = os.environ.get("EDGE_APP_PHOTOS")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "photos"
    return sorted(folder.glob("*.jpg")) + _bundled()


def _bundled() -> list[Path]:
    found = []
    for package, subfolder, names in (("skimage", "data", _SKIMAGE), ("sklearn", "datasets/images", _SKLEARN)):
        spec = importlib.util.find_spec(package)
        if spec and spec.origin:
            folder = Path(spec.origin).parent / subfolder
            found += [folder / name for name in names if (folder / name).is_file()]
    return found
