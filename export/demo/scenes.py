"""`python -m export.demo.scenes DIR --seed S [--count N]`: pictures of demo scenes, with the truth about them.

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
from export.demo.folders import written_whole
from export.demo.seeds import FREE_SEEDS
from export.errors import ExportError
from export.stopping import stoppable

PICTURE_PX = 480  # as the demo camera shows them
SEED_HELP = (
    "of the scenes, another one for each folder: a bundle is not to be judged by what it was calibrated with; "
    f"{FREE_SEEDS[0]} to {FREE_SEEDS[-1]} draw nothing else"
)


def draw_scenes(folder: Path, *, count: int, seed: int) -> None:
    """Draw `count` scenes such as training shows into `folder`, each with a question of every kind that it allows.

    The folder is there in the end with everything in it, or as it was before.

    Raises ExportError when `folder` is a file or has something in it, or when the disk does not take the pictures.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise ExportError(f"{folder} is a file; choose another name for the folder of scenes.")
        if folder.exists() and any(folder.iterdir()):
            raise ExportError(f"{folder} has something in it already; choose a new folder, or empty this one.")
        with written_whole(folder) as new:
            _write(new, count, np.random.default_rng(seed))
    except OSError as error:
        raise ExportError(
            f"The scenes cannot be written to {folder} ({error}); free some space or choose another place."
        ) from error


def _write(folder: Path, count: int, rng: np.random.Generator) -> None:
    captions: dict[str, list[str]] = {}
    asked: dict[str, list[dict[str, object]]] = {}
    for number in range(count):
        name = f"scene-{number:04}.png"
        objects = int(rng.integers(1, world.MOST_OBJECTS + 1))
        scene = world.random_scene(rng, objects, world.TRAINING_PAIRS, twins=world.TRAINING_TWINS)
        if not cv2.imwrite(str(folder / name), draw(scene, PICTURE_PX)):
            raise OSError(f"{name} is not whole")
        captions[name] = [language.caption(scene)]
        made = [questions.ask(scene, rng, kind, world.TRAINING_PAIRS) for kind in questions.KINDS]
        asked[name] = [{"question": one.text, "answers": [one.answer]} for one in made if one is not None]
    one_each = [str(entries[number % len(entries)]["question"]) for number, entries in enumerate(asked.values())]
    (folder / "questions.txt").write_text("\n".join(one_each) + "\n", encoding="utf-8")
    (folder / "captions.json").write_text(json.dumps(captions, indent=1), encoding="utf-8")
    (folder / "questions.json").write_text(json.dumps(asked, indent=1), encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and draw; the exit code. KeyboardInterrupt passes."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.scenes", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=Path, help="made where it is missing; else it must be empty")
    parser.add_argument("--count", type=whole(1), default=128, help="scenes (default: %(default)s)")
    parser.add_argument("--seed", metavar="S", type=whole(0), required=True, help=SEED_HELP)
    arguments = parser.parse_args(argv)
    try:
        draw_scenes(arguments.folder, count=arguments.count, seed=arguments.seed)
    except ExportError as error:
        print(f"export.demo.scenes: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(stoppable("export.demo.scenes", main))
