"""`edge-app doctor`: find what is wrong with this machine or its configuration, and say the mend."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edge_app.checks import Check
from edge_app.checks.account import account_of_service
from edge_app.checks.broker import check_broker
from edge_app.checks.cameras import check_cameras
from edge_app.checks.clock import check_clock
from edge_app.checks.display import check_display
from edge_app.checks.inference import check_inference
from edge_app.checks.machine import check_machine
from edge_app.checks.metrics import check_metrics
from edge_app.checks.permissions import check_permissions
from edge_app.checks.storage import check_disk, check_owner
from edge_app.checks.unit import check_unit
from edge_app.checks.warm import check_warm
from edge_app.commands.arguments import add_config_argument, config_path
from edge_app.config import check_files, load_config
from edge_app.errors import ConfigError
from edge_app.settings import Config
from edge_app.state import state_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app doctor`."""
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a check on stdout, and nothing else")
    parser.add_argument(
        "--warm",
        action="store_true",
        help="also compile for the service's devices, keep it for the service, and measure the devices (bench --tune)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print each check as it is done; 1 if any failed, else 0."""
    logging.getLogger().setLevel(logging.CRITICAL)  # the checks say it better than the parts' own log
    failed = 0
    for check in all_checks(arguments):
        print(json.dumps(dataclasses.asdict(check)) if arguments.json else _line(check), flush=True)
        failed += check.status == "fail"
    if not arguments.json:
        print(f"\n{failed} check{'s' * (failed > 1)} failed." if failed else "\nNothing failed.")
    return 1 if failed else 0


def all_checks(arguments: argparse.Namespace) -> Iterator[Check]:
    """The checks, from the machine outwards; those that need a configuration only where it is right.

    Rights are judged for the service's user where root asks, and the model is tried as that user; the broker and the
    cameras are tried as whoever asks.
    """
    config: Config | None = None
    path: Path | None = None
    account = account_of_service()
    try:
        path = config_path(arguments)
        config = load_config(path)
        check_files(config)
    except ConfigError as error:
        for problem in error.problems:
            yield Check("configuration", "fail", problem, mend_of(error, path))
    else:
        yield Check("configuration", "ok", str(path))
        yield from check_permissions(path, config, account)
    yield from check_machine()
    yield check_clock()
    for folder in _written_folders(config):
        yield check_disk(folder, account)
    if not account.is_own:
        yield from (check_owner(folder, account) for folder in _folders_of_the_service(config) if folder.is_dir())
    warm = arguments.warm and config is not None
    yield from check_inference(config.model if config else None, account, load=not warm)
    if warm and config is not None:
        yield from check_warm(config, account, lambda step: _tell(step, arguments))
    if config:
        yield from check_cameras(config.camera, account)
        yield check_broker(config)
        yield check_metrics(config.metrics, account)
        yield check_display(config.display, account)
    yield from check_unit(config)


def mend_of(error: ConfigError, path: Path | None) -> str:
    """What to do about a configuration that is missing, closed to who asks, or wrong."""
    if path is None or isinstance(error.__cause__, FileNotFoundError):
        return "Write one: config.toml of the repository is the sample, and docs/configuration.md tells each key."
    if isinstance(error.__cause__, PermissionError):
        return f"Run: sudo edge-app doctor --config {path}"
    return "Correct it; `edge-app check-config` reads it again."


def _written_folders(config: Config | None) -> list[Path]:
    """Where the service writes: temporary files, its state and messages, the model cache, the display's picture."""
    folders = [Path(tempfile.gettempdir()), *_folders_of_the_service(config)]
    if config and config.display.path:
        folders.append(config.display.path.parent)
    return list(dict.fromkeys(folders))


def _folders_of_the_service(config: Config | None) -> list[Path]:
    """What nobody else writes to: state, messages, the model cache."""
    named = [config.model.state_dir, config.store.dir, config.model.cache_dir] if config else []
    folders = [folder for folder in named if folder]
    if (customary := state_folder(None)).exists():  # systemd makes it; without the unit nothing needs it
        folders.append(customary)
    return list(dict.fromkeys(folders))


def _tell(step: str, arguments: argparse.Namespace) -> None:
    """Say what takes minutes while it does."""
    if not arguments.json:
        print(f"      {step} ...", file=sys.stderr, flush=True)


def _line(check: Check) -> str:
    line = f"{check.status:<4}  {check.name:<18}  {check.what}"
    return f"{line}\n{'':<26}-> {check.mend}" if check.mend else line
