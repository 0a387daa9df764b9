"""Drawn scenes with questions about them, and the tokens that a model gives for them.

As a program: `python -m tests.gpu.scenes BUNDLE DEVICE SCENES CACHE` prints the device and the tokens as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_app.demo.drawing import draw
from edge_app.demo.questions import random_question
from edge_app.demo.world import random_scene
from edge_app.model.loading import load_models
from edge_app.model.vlm import VisionLanguageModel

SCENES, QUESTIONS = 20, 4  # questions of each scene
SEED = 4_000
SIZE_PX = 480
MOST_OBJECTS = 6


@dataclass(frozen=True)
class Asked:
    """A picture [H, W, 3] BGR and questions about it."""

    picture: NDArray[np.uint8]
    questions: tuple[str, ...]


def scenes(count: int = SCENES) -> Iterator[Asked]:
    """Yield the first `count` of an endless row of scenes."""
    for index in range(count):
        rng = np.random.default_rng(SEED + index)
        scene = random_scene(rng, index % (MOST_OBJECTS + 1))
        questions = tuple(random_question(scene, rng).text for _ in range(QUESTIONS))
        yield Asked(draw(scene, SIZE_PX), questions)


def tokens(model: VisionLanguageModel, count: int = SCENES) -> list[dict[str, Any]]:
    """Return the token ids of caption and answers for each scene, with their texts."""
    found = []
    for asked in scenes(count):
        encoding = model.encode(asked.picture)
        texts = []
        if "caption" in model.manifest.tasks:
            texts.append(model.caption(encoding))
        if "vqa" in model.manifest.tasks:
            texts += model.answers(encoding, asked.questions)
        found.append({"ids": [list(text.token_ids) for text in texts], "texts": [text.text for text in texts]})
    return found


def main() -> None:
    """Print what a device makes of the scenes."""
    bundle, device, count, cache = sys.argv[1:]
    loaded = load_models([Path(bundle)], device=device, cache_dir=Path(cache))
    print(json.dumps({"info": loaded.info(), "tokens": tokens(loaded.models[0], int(count))}))


if __name__ == "__main__":
    main()
