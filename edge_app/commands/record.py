"""`edge-app record`: frames of a camera as PNG files, so that an export can be calibrated on the board's own view.

Frames are private. A person is asked before the first is taken; nobody else may read the folder; nothing is sent.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_app.camera.recorder import FILE_MODE, FOLDER_MODE, FrameFolder, distinct_frames
from edge_app.commands.arguments import add_config_argument, at_least, config_path, number_of_seconds
from edge_app.config import load_config
from edge_app.errors import BadRequestError, EdgeAppError
from edge_app.settings import CameraConfig, without_credentials

INTERVAL_S = 2.0
MAX_INTERVAL_S = 86_400.0
EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130  # 130: 128 + SIGINT, as shells report it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app record`."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="for the pictures; made if it is not there")
    parser.add_argument("--count", metavar="N", type=at_least(1), required=True, help="frames to save")
    parser.add_argument(
        "--interval",
        metavar="S",
        type=_interval,
        default=INTERVAL_S,
        help=f"seconds between two frames; default: {INTERVAL_S:g}",
    )
    parser.add_argument("--camera", metavar="NAME", help="one of the configuration; needed where it has several")
    parser.add_argument("--yes", action="store_true", help="do not ask: everybody concerned has agreed")
    add_config_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, then record; the exit code.

    0 when all frames were saved, 1 when not, be it that the person who was asked said no; 2 when nobody can be asked
    and `--yes` is not given; 130 when interrupted.

    Raises:
        ConfigError: the configuration is wrong.
        BadRequestError: there is no such camera, or the folder is open to other users.
        CameraError: the camera gives no frames.
    """
    camera = choose(load_config(config_path(arguments)).camera, arguments.camera)
    folder = FrameFolder(arguments.folder, camera.name)
    if not arguments.yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            print(
                "edge-app: record asks before it saves frames, and there is no terminal to ask on; give --yes if "
                "everybody whom the camera sees has agreed.",
                file=sys.stderr,
            )
            return EXIT_USAGE
        if not _agreed(camera, folder.path, count=arguments.count, interval_s=arguments.interval):
            print("Nothing was recorded.")
            return EXIT_REFUSED
    logging.getLogger().setLevel(logging.ERROR)  # what is wrong with the camera is told once, at the end
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as with Ctrl-C: told, the camera's process too
    saved = 0
    try:
        with contextlib.closing(distinct_frames(camera, arguments.interval)) as images:
            for image in itertools.islice(images, arguments.count):
                path = folder.save(image)
                saved += 1
                print(f"{saved:>6} of {arguments.count}  {path.name}", flush=True)
    except KeyboardInterrupt:
        print(f"\nStopped. {_summary(saved, arguments.count, folder.path)}")
        return EXIT_INTERRUPTED
    except EdgeAppError:
        print(_summary(saved, arguments.count, folder.path))
        raise
    print(_summary(saved, arguments.count, folder.path))
    return EXIT_DONE


def choose(cameras: Sequence[CameraConfig], name: str | None) -> CameraConfig:
    """The camera of that name, or the only one; BadRequestError when that leaves none or several."""
    names = ", ".join(camera.name for camera in cameras)
    if name is None and len(cameras) > 1:
        raise BadRequestError(f"The configuration has {len(cameras)} cameras; choose one with --camera: {names}.")
    for camera in cameras:
        if name in (None, camera.name):
            return camera
    raise BadRequestError(f"The configuration has no camera {name!r}; it has: {names}.")


def _agreed(camera: CameraConfig, folder: Path, *, count: int, interval_s: float) -> bool:
    """Say what is going to happen and ask whether it may, on the terminal."""
    print(
        f"Frames of the camera {camera.name} ({without_credentials(camera.source)}) are going to be saved:\n"
        f"  what   {count} pictures, one every {interval_s:g} s or later, as PNG files with every pixel as it came\n"
        f"  where  {folder}, on this machine; nothing is sent anywhere\n"
        f"  who    only you can read them (folder mode {FOLDER_MODE:04o}, files {FILE_MODE:04o})\n"
        "They show whatever the camera sees; people in its view should know.\n"
        "Go on? [y/N] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _summary(saved: int, count: int, folder: Path) -> str:
    """How many there are now, and what to do with them."""
    if saved == 0:
        return "No frame was saved."
    return (
        f"{saved} of {count} frames were saved in {folder}.\n"
        "Take the folder to the workstation, and calibrate an export with it:\n"
        f"  python -m export CHECKPOINT OUT --calibration {shlex.quote(str(folder))}"
    )


def _interval(text: str) -> float:
    """An argument type: seconds from 0 to a day."""
    interval_s = number_of_seconds(text)
    if not 0 <= interval_s <= MAX_INTERVAL_S:  # which is never true of NaN
        raise argparse.ArgumentTypeError(f"{text} is out of range; give 0 to {MAX_INTERVAL_S:g} seconds")
    return interval_s
