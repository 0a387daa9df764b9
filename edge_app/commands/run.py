"""`edge-app run`: the service, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import resource
import signal

from edge_app.commands.arguments import add_config_argument, config_path, setting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app run`."""
    add_config_argument(parser)
    parser.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action="append",
        type=setting,
        default=[],
        help="a setting over that of the file, e.g. mqtt.host=broker.local; may be given again",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read the configuration, then serve; 0 after a clean stop. Raises ConfigError."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_at_once)  # until the service, when it runs, takes the signals over
    # A core dump would put frames and the password on disk. The children inherit this.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Imported with the handler in place: it takes a good part of a second on a small board.
    from edge_app.config import file_problems, load_config

    config = load_config(config_path(arguments), overrides=dict(arguments.set), checks=[file_problems])
    logging.getLogger().setLevel(config.log.level)
    from edge_app.service import run as serve

    return serve(config)


def _end_at_once(_number: int, _frame: object) -> None:
    """End in order: nothing has been started yet, so there is nothing to wait for or to say."""
    # Not SystemExit, which would be lost where Python swallows exceptions, as in the callbacks of an import.
    os._exit(0)
