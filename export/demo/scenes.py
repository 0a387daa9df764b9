"""`python -m export.demo.scenes DIR [--count N] [--seed S]`: pictures of demo scenes, with the truth about them.

The folder serves an export as `--calibration` and as `--quality`: beside the pictures lie one question a picture
(`questions.txt`), and captions and questions with their right answers (`captions.json`, `questions.json`).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from edge_app.demo import language, questions, world
from edge_app.demo.drawing import draw
from export.arguments import whole

PICTURE_PX = 480  # as the demo camera shows them


def draw_scenes(folder: Path, *, count: int, seed: int) -> None:
    """Draw `count` scenes of the pairs that training shows into `folder`, each with a question of every kind."""
    rng = np.random.default_rng(seed)
    captions: dict[str, list[str]] = {}
    asked: dict[str, list[dict[str, object]]] = {}
    for number in range(count):
        name = f"scene-{number:04}.png"
        scene = world.random_scene(rng, int(rng.integers(1, world.MOST_OBJECTS + 1)), world.TRAINING_PAIRS)
        if not cv2.imwrite(str(folder / name), draw(scene, PICTURE_PX)):
            raise OSError(f"The picture {folder / name} could not be written; is the disk full?")
        captions[name] = [language.caption(scene)]
        made = [questions.ask(scene, rng, kind, world.TRAINING_PAIRS) for kind in questions.KINDS]
        asked[name] = [{"question": one.text, "answers": [one.answer]} for one in made if one is not None]
    one_each = [str(entries[number % len(entries)]["question"]) for number, entries in enumerate(asked.values())]
    (folder / "questions.txt").write_text("\n".join(one_each) + "\n", encoding="utf-8")
    (folder / "captions.json").write_text(json.dumps(captions, indent=1), encoding="utf-8")
    (folder / "questions.json").write_text(json.dumps(asked, indent=1), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.scenes", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path, help="made where it is missing")
    parser.add_argument("--count", type=whole(1), default=128, help="scenes (default: %(default)s)")
    parser.add_argument("--seed", type=whole(0), default=1, help="of the scenes (default: %(default)s)")
    arguments = parser.parse_args(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    draw_scenes(arguments.folder, count=arguments.count, seed=arguments.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
