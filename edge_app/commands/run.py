"""`edge-app run`: the service, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import logging

from edge_app.commands.arguments import add_config_argument, config_path
from edge_app.config import check_files, load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app run`."""
    add_config_argument(parser)
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting over that of the file, e.g. mqtt.host=broker.local; may be given again",
    )


def run(arguments: argparse.Namespace) -> int:
    """Read the configuration, then serve; 0 after a clean stop. Raises ConfigError."""
    overrides = dict(setting.partition("=")[::2] for setting in arguments.set)
    config = load_config(config_path(arguments), overrides=overrides)
    check_files(config)
    logging.getLogger().setLevel(config.log.level)
    from edge_app.service import run as serve

    return serve(config)
