"""`python -m export.demo.bundle CHECKPOINT OUT`: the trained demo checkpoint becomes the INT8 bundle that is shipped.

The same export as any other, calibrated on scenes drawn for it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edge_app.demo import questions, world
from edge_app.demo.drawing import draw
from export.__main__ import main as export

CALIBRATION_SCENES = 128
CALIBRATION_SEED = 77  # training draws from seed 1 on, evaluation from 20,000
NAME = "edge-app-demo"
PICTURE_PX = 480  # as the demo camera shows them
MAX_NEW_TOKENS = 40  # six objects and their relations take 34 at most


def draw_calibration(folder: Path) -> None:
    """Pictures of random scenes and one question about each."""
    rng = np.random.default_rng(CALIBRATION_SEED)
    asked: list[str] = []
    for number in range(CALIBRATION_SCENES):
        count = int(rng.integers(1, world.MOST_OBJECTS + 1))
        scene = world.random_scene(rng, count, world.TRAINING_PAIRS)
        cv2.imwrite(str(folder / f"scene-{number:03}.png"), draw(scene, PICTURE_PX))
        asked.append(questions.random_question(scene, rng).text)
    (folder / "questions.txt").write_text("\n".join(asked) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Export; the exit code of the export."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.bundle", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder that export.demo.train wrote")
    parser.add_argument("out", metavar="OUT", help="bundle folder; edge_app/demo/bundle is the shipped one")
    parser.add_argument("--precision", choices=("int8", "fp16", "fp32"), default="int8")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="demo-calibration-") as folder:
        draw_calibration(Path(folder))
        command = [arguments.checkpoint, arguments.out, "--precision", arguments.precision, "--calibration", folder]
        command += [
            "--name",
            NAME,
            "--calibration-limit",
            str(CALIBRATION_SCENES),
            "--max-new-tokens",
            str(MAX_NEW_TOKENS),
            "--force",
        ]
        return export(command)


if __name__ == "__main__":
    sys.exit(main())
