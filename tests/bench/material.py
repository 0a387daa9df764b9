"""What the contenders run on: checkpoints, IRs and bundles in one folder, made when they are missing.

`python -m tests.bench.material FOLDER --size base` makes all of it; the benchmark calls it in a process of its own, so
that the memory of a conversion is gone before anything is measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from edge_app.model.manifest import Task
from tests.photos import photo_paths

Label = Literal["P", "N16", "N8", "ours"]
Size = Literal["base", "small"]
LABELS: tuple[Label, ...] = get_args(Label)
TASKS: tuple[Task, ...] = ("caption", "vqa")
CALIBRATION_PICTURES = 20  # scales differ with more of them, times do not


@dataclass(frozen=True)
class Material:
    """Where everything of one size lies below `folder`."""

    folder: Path
    size: Size

    def checkpoint(self, task: Task) -> Path:
        """Random weights of real variance, as `save_pretrained` writes them."""
        return self.folder / self.size / f"checkpoint-{task}"

    def notebook(self, task: Task, weights: Literal["fp16", "int8"]) -> Path:
        """IRs of the public notebook."""
        return self.folder / self.size / f"notebook-{task}-{weights}"

    def bundle(self, task: Task) -> Path:
        """This project's INT8 bundle."""
        return self.folder / self.size / f"bundle-{task}"

    @property
    def calibration(self) -> Path:
        """Photos."""
        return self.folder / "calibration"


def prepare(material: Material, labels: Sequence[Label]) -> None:
    """Make what `labels` need and is not there; says on stderr what it makes."""
    if {"N8", "ours"} & set(labels):
        make(material.calibration, _photos)
    for task in TASKS:
        make(material.checkpoint(task), partial(_checkpoint, material, task))
        if {"N16", "N8"} & set(labels):
            make(material.notebook(task, "fp16"), partial(_convert, material, task))
        if "N8" in labels:
            make(material.notebook(task, "int8"), partial(_quantise, material, task))
        if "ours" in labels:
            make(material.bundle(task), partial(_export, material, task))


def make(path: Path, maker: Callable[[Path], None]) -> None:
    """Make `path` when it is missing.

    `maker` writes beside it, and it appears when it is whole: an interrupted run leaves nothing half made.
    """
    if path.exists():
        return
    print(f"making {path}", file=sys.stderr, flush=True)
    from export.checkpoint import quiet_transformers

    quiet_transformers()
    unfinished = path.with_name(f"{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    maker(unfinished)
    unfinished.rename(path)


def _checkpoint(material: Material, task: Task, out: Path) -> None:
    from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering

    from tests.checkpoints import BASE, SMALL, save_checkpoint

    classes = {"caption": BlipForConditionalGeneration, "vqa": BlipForQuestionAnswering}
    save_checkpoint(out, classes[task], {"base": BASE, "small": SMALL}[material.size])


def _photos(out: Path) -> None:
    out.mkdir()
    for path in photo_paths()[:CALIBRATION_PICTURES]:
        shutil.copy(path, out / path.name)


def _convert(material: Material, task: Task, out: Path) -> None:
    from tests.bench.notebook_ir import convert

    convert(material.checkpoint(task), out)


def _quantise(material: Material, task: Task, out: Path) -> None:
    from export.calibration import read_folder
    from tests.bench.notebook_ir import quantise

    calibration = read_folder(material.calibration, limit=CALIBRATION_PICTURES)
    with redirect_stdout(sys.stderr):  # NNCF's progress bars
        quantise(material.notebook(task, "fp16"), material.checkpoint(task), out, calibration)


def _export(material: Material, task: Task, out: Path) -> None:
    """By the export's own command line. Random weights have no quality to judge, so nothing is held out for it."""
    from export.__main__ import main

    command = [str(material.checkpoint(task)), str(out), "--task", task, "--calibration", str(material.calibration)]
    command += ["--parity-pictures", "0", "--quality-limit", "1", "--accept-quality", "--no-layer-search"]
    with redirect_stdout(sys.stderr):
        status = main([*command, "--name", f"bench-{task}"])
    if status:
        raise RuntimeError(f"The export of {material.checkpoint(task)} failed with exit code {status}; see above.")


def main(argv: Sequence[str] | None = None) -> int:
    """Make everything; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.material", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--size", choices=get_args(Size), default="base")
    parser.add_argument("--only", choices=LABELS, nargs="+", default=LABELS)
    arguments = parser.parse_args(argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    prepare(Material(arguments.folder, arguments.size), arguments.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
