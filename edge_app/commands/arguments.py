"""Command-line arguments that several verbs share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_app.ending import keep_until_end
from edge_app.errors import ConfigError
from edge_app.state import state_folder

if TYPE_CHECKING:
    from edge_app.model.loading import LoadedModels

CONFIG_PLACES = (Path("config.toml"), Path("/etc/edge-app/config.toml"))


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number that is not less than `least`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is out of range; give at least {least}")
        return value

    return number


def seconds(text: str) -> float:
    """An argparse type: a time that is longer than none, and ends."""
    value = number_of_seconds(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{value:g} is out of range; give more than 0 seconds")
    return value


def number_of_seconds(text: str) -> float:
    """An argparse type, or a part of one: any number, one that is not finite included."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None


def setting(text: str) -> tuple[str, str]:
    """An argparse type: `mqtt.host=broker.local`, the dotted key and the value."""
    key, sign, value = text.partition("=")
    if not sign or not all(key.partition(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is not SECTION.KEY=VALUE; write mqtt.host=broker.local, say")
    return key, value


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Which bundle to load, and onto what."""
    parser.add_argument("--bundle", metavar="DIR", type=Path, required=True, help="folder of the model bundle")
    parser.add_argument(
        "--device",
        default="AUTO",
        help="AUTO, CPU, GPU or GPU.N; default: AUTO, what `bench --tune` found best, else the GPU before the CPU",
    )
    parser.add_argument("--text-device", metavar="DEVICE", help="of question encoder and decoder; default: the same")
    parser.add_argument(
        "--threads", metavar="N", type=at_least(0), default=0, help="CPU threads; default: OpenVINO decides"
    )
    parser.add_argument("--cache-dir", metavar="DIR", type=Path, help="keep compiled graphs here")
    parser.add_argument(
        "--state-dir", metavar="DIR", type=Path, help=f"what `bench --tune` found; default: {state_folder(None)}"
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout, and nothing else")


def load_from(arguments: argparse.Namespace) -> LoadedModels:
    """Load the bundle that `add_model_arguments` named."""
    from edge_app.model.loading import load_models

    models = load_models(
        [arguments.bundle],
        device=arguments.device,
        text_device=arguments.text_device,
        threads=arguments.threads,
        cache_dir=arguments.cache_dir,
        state_dir=state_folder(arguments.state_dir),
    )
    keep_until_end(models)
    return models


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Where the configuration is."""
    places = " or ".join(map(str, CONFIG_PLACES))
    parser.add_argument("--config", metavar="FILE", type=Path, help=f"default: {places}, whichever is there first")


def config_path(arguments: argparse.Namespace) -> Path:
    """The file `add_config_argument` named, or the first that is there; raises ConfigError if none is."""
    if arguments.config is not None:
        return Path(arguments.config)
    for path in CONFIG_PLACES:
        try:
            if path.is_file():
                return path
        except PermissionError:  # a folder for the service alone: reading the file then says so
            return path
    places = " nor ".join(map(str, CONFIG_PLACES))
    raise ConfigError([f"There is no configuration at {places}; name one with --config FILE."])
