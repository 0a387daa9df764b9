"""The options of a comparison, and what is wrong with them before anything is measured."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from edge_app.model.manifest import MOST_NEW_TOKENS
from export.arguments import whole
from export.compare_material import Material, material_from
from export.errors import ExportError


def add_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """All that can be said of a comparison but the bundles."""
    parser.add_argument(
        "--pictures", metavar="DIR", type=Path, help="to compare texts on (and questions.txt); default: drawn scenes"
    )
    parser.add_argument("--limit", metavar="N", type=whole(1), default=64, help="pictures used at most; default: 64")
    parser.add_argument("--runs", metavar="N", type=whole(1), default=7, help="medians are taken over N; default: 7")
    parser.add_argument(
        "--tokens", metavar="N", type=whole(2, MOST_NEW_TOKENS), default=20, help="of a timed caption; default: 20"
    )
    parser.add_argument(
        "--device", default="AUTO", help="AUTO, CPU, GPU or GPU.N; default: AUTO, the GPU before the CPU"
    )
    parser.add_argument("--threads", metavar="N", type=whole(0), default=0, help="CPU threads; default: OpenVINO's")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")
    parser.add_argument("--picture", metavar="FILE.png", type=Path, help="draw the comparison, too (needs matplotlib)")


def material_of(arguments: argparse.Namespace) -> Material | None:
    """The pictures and questions of `--pictures`; None without that option.

    Where the drawing goes is checked here too: it is written last, after the measuring.

    Raises:
        ExportError: no picture can be read, or the drawing could not be made or written.
    """
    if arguments.picture is not None:
        _check_drawing(arguments.picture)
    return None if arguments.pictures is None else material_from(arguments.pictures, arguments.limit)


def _check_drawing(path: Path) -> None:
    if find_spec("matplotlib") is None:
        raise ExportError(
            "--picture needs matplotlib, which is not installed; run pip install '.[export]' in this project's folder, "
            "or leave --picture out."
        )
    if path.suffix.lower() != ".png":
        raise ExportError(f"{path} does not end in .png; name a PNG file for --picture.")
    if path.is_dir():
        raise ExportError(f"{path} is a folder; name a PNG file for --picture.")
    if not path.absolute().parent.is_dir():
        raise ExportError(f"{path} cannot be written: there is no folder {path.parent}; make it first.")
