"""What bundles are compared on: pictures, and questions about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_app.camera.files import load_image
from edge_app.demo import drawing, world
from edge_app.model.manifest import ImageSpec
from edge_app.model.measure import picture_to_time
from export.calibration import picture_paths, read_questions, readable, spread
from export.demo.seeds import COMPARISON_SEED
from export.errors import ExportError

QUESTIONS_A_PICTURE = 3
SCENES = 8  # drawn when no folder of pictures is given
SCENE_PX = 480
SCENE_QUESTIONS = (
    "what is in the picture?",
    "how many objects are there?",
    "is there a red circle?",
    "is there anything blue?",
    "what is on the far left?",
    "what is the biggest object?",
)


@dataclass(frozen=True)
class Material:
    """What the bundles are compared on: pictures [H, W, 3] BGR, each asked a few of the questions, in turn."""

    pictures: tuple[Callable[[], NDArray[np.uint8]], ...]  # read when they are needed: photos are large
    questions: tuple[str, ...]

    @property
    def asked(self) -> tuple[str, ...]:
        """Those of the questions whose turn comes."""
        return self.questions[: len(self.pictures) * QUESTIONS_A_PICTURE]

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], list[str]]]:
        """Each picture with its questions."""
        for index, picture in enumerate(self.pictures):
            asked = range(index * QUESTIONS_A_PICTURE, (index + 1) * QUESTIONS_A_PICTURE)
            yield picture(), [self.questions[number % len(self.questions)] for number in asked]


def drawn(spec: ImageSpec) -> Material:
    """The golden picture of bundles with this image size, and a few scenes of the demo's world."""
    rng = np.random.default_rng(COMPARISON_SEED)
    scenes = [world.random_scene(rng, int(rng.integers(1, world.MOST_OBJECTS + 1))) for _ in range(SCENES)]
    golden = partial(picture_to_time, spec)
    return Material((golden, *(partial(drawing.draw, scene, SCENE_PX) for scene in scenes)), SCENE_QUESTIONS)


def material_from(folder: Path, limit: int) -> Material:
    """Pictures spread over a folder, and its questions; ExportError when none can be read."""
    candidates = picture_paths(folder, "picture")
    chosen = readable(spread(candidates, limit))
    if not chosen:
        raise ExportError(
            f"The picture folder {folder} has no readable picture ({len(candidates)} files looked like one); "
            "give a folder with JPEG or PNG files."
        )
    return Material(tuple(partial(load_image, path) for path in chosen), read_questions(folder))
