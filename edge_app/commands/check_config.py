"""`edge-app check-config`: every problem of the configuration, or all settings as they are in force."""

from __future__ import annotations

import argparse
import json
from typing import Any

from edge_app.commands.arguments import add_config_argument, config_path
from edge_app.config import bundle_problems, file_problems, load_config
from edge_app.errors import ConfigError
from edge_app.settings import Config

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app check-config`."""
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Print the settings in force, without secrets, and return 0. ConfigError, or 78 with --json, if they are wrong."""
    try:
        config = load_config(config_path(arguments), checks=[file_problems, bundle_problems])
    except ConfigError as error:
        if not arguments.json:
            raise
        print(json.dumps({"ok": False, "problems": error.problems}))
        return EXIT_CONFIG
    if arguments.json:
        print(json.dumps({"ok": True, "config": config.public()}))
    else:
        print(to_toml(config))
    return 0


def to_toml(config: Config) -> str:
    """The settings as TOML, without secrets; those that are left out stay out."""
    lines: list[str] = []
    for section, value in config.public().items():
        if isinstance(value, list):
            for table in value:
                lines += [f"[[{section}]]", *_assignments(table), ""]
        else:
            lines += [f"[{section}]", *_assignments(value), ""]
    return "\n".join(lines).rstrip()


def _assignments(table: dict[str, Any]) -> list[str]:
    # A JSON string, number, boolean or list of them is a TOML one too, if it is not escaped to ASCII.
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items() if value is not None]
