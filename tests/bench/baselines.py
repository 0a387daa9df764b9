"""Measure this project beside what people use today; see the package's own words for what makes that fair.

The contenders take turns, a round of each and again. Even so the machine should be idle: the threads of a contender
wait for the slowest of them at every operation, and P has the most operations.

What is missing in FOLDER is made first (base: ten minutes of two cores, 7 GB of memory, 5 GB of disk); delete its
`bundle-*` or `notebook-*` folders to have them made anew after a change. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from tqdm import tqdm

from edge_app.camera.files import load_image
from edge_app.model.measure import cpu_name
from edge_app.model.work import Picture
from export.arguments import whole
from tests.bench.material import LABELS, Label, Material, Size
from tests.bench.process import BenchError, ContenderProcess
from tests.bench.report import Comparison, as_json, table
from tests.bench.script import run_script
from tests.photos import photo_paths

FRAME_PX: dict[Size, int] = {"base": 768, "small": 192}  # twice the model's own size, as `edge-app bench` has it
PACKAGES = ("torch", "transformers", "openvino", "nncf")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m tests.bench.baselines", description=__doc__)
    p.add_argument("folder", metavar="FOLDER", type=Path, help="for checkpoints, IRs and bundles")
    p.add_argument("--size", choices=get_args(Size), default="base", help="of the models; default: base")
    p.add_argument("--runs", metavar="N", type=whole(1), default=7, help="medians are taken over N; default: 7")
    p.add_argument("--threads", metavar="N", type=whole(1), default=2, help="of each contender; default: 2")
    p.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")
    p.add_argument("--only", choices=LABELS, nargs="+", default=LABELS, help="contenders; default: all")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare, measure, print; 0 when done, 1 with a sentence when not, 130 when interrupted."""
    arguments = parser().parse_args(argv)
    return run_script("baselines", lambda: _reported(arguments))


def _reported(arguments: argparse.Namespace) -> str:
    labels = [label for label in LABELS if label in arguments.only]
    material = Material(arguments.folder, arguments.size)
    _prepare(material, labels)
    comparison = compare(material, labels, runs=arguments.runs, threads=arguments.threads)
    return as_json(comparison) if arguments.json else table(comparison)


def compare(material: Material, labels: Sequence[Label], *, runs: int, threads: int) -> Comparison:
    """Time `runs` rounds of every contender after one that is thrown away; raises BenchError when one fails."""
    picture = frame(material.size)
    before = os.getloadavg()[0]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(ContenderProcess(label, material, threads=threads))
            for label in tqdm(labels, desc="loading", unit="contender")
        ]
        rounds: dict[Label, list[dict[str, float]]] = {label: [] for label in labels}
        for _ in tqdm(range(runs + 1), desc="measuring", unit="round"):
            for process in processes:
                rounds[process.label].append(process.time_round(picture))
        after = os.getloadavg()[0]
    return Comparison(
        rounds={label: times_ms[1:] for label, times_ms in rounds.items()},
        size=material.size,
        threads=threads,
        cpu=cpu_name(),
        versions={name: version(name) for name in PACKAGES},
        load_average=(round(before, 2), round(after, 2)),
    )


def frame(size: Size) -> Picture:
    """A photo as a camera would deliver it, [H, W, 3] BGR."""
    side = FRAME_PX[size]
    return np.ascontiguousarray(cv2.resize(load_image(photo_paths()[0]), (side, side)), np.uint8)


def _prepare(material: Material, labels: Sequence[Label]) -> None:
    """Run `tests.bench.material` by itself."""
    command = [sys.executable, "-m", "tests.bench.material", str(material.folder), "--size", material.size]
    status = subprocess.run([*command, "--only", *labels], stdout=sys.stderr, check=False).returncode
    if status:
        raise BenchError(f"The material in {material.folder} could not be made (exit code {status}); see above.")


if __name__ == "__main__":
    sys.exit(main())
