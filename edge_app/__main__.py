"""`edge-app`, the command line: parse arguments, set up logging, turn errors into exit codes; the rooms do the work."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from edge_app import __version__
from edge_app.ending import run_and_end
from edge_app.errors import ConfigError, EdgeAppError
from edge_app.logs import set_up_logging

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_CONFIG = (
    0,
    1,
    2,
    78,
)  # 78: EX_CONFIG of sysexits.h; systemd does not restart it

# verb -> (help, module, function that adds its arguments, function that runs it). Imported only when the verb is
# used: the service must stay small, and `--help` fast.
_VERBS = {
    "demo": ("see it work: a drawn scene, a small model, an embedded broker", "demo", "add_arguments", "run"),
    "run": ("run the service", "run", "add_arguments", "run"),
    "caption": ("describe picture files", "describe", "add_caption_arguments", "run_caption"),
    "ask": ("answer questions about a picture file", "describe", "add_ask_arguments", "run_ask"),
    "bench": ("measure a bundle on this machine", "bench", "add_arguments", "run"),
    "bundle": ("verify, install, roll back and list model bundles", "bundle", "add_arguments", "run"),
    "record": ("save frames of a camera, to calibrate an export with", "record", "add_arguments", "run"),
    "cameras": ("list the cameras of this machine", "cameras", "add_arguments", "run"),
    "doctor": ("find what is wrong, and the mend", "doctor", "add_arguments", "run"),
    "check-config": ("check the configuration and show it in full", "check_config", "add_arguments", "run"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 done, 1 failed, 2 usage, 78 bad configuration."""
    arguments_left = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in arguments_left if not word.startswith("-")), None)
    arguments = parser(verb).parse_args(arguments_left)
    set_up_logging("INFO")  # until the configuration says otherwise
    _, module, _, function = _VERBS[arguments.verb]
    try:
        code: int = getattr(importlib.import_module(f"edge_app.commands.{module}"), function)(arguments)
    except ConfigError as error:
        for problem in error.problems:
            print(f"edge-app: {problem}", file=sys.stderr)
        return EXIT_CONFIG
    except EdgeAppError as error:
        print(f"edge-app: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells report it
    except BrokenPipeError:
        # The reader of our output has gone (`edge-app ... | head`); leave nothing for Python to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code


def parser(verb: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the arguments of `verb` are added, since that imports its module."""
    p = argparse.ArgumentParser(prog="edge-app", description="An edge device that says what it sees.")
    p.add_argument("--version", action="version", version=f"edge-app {__version__}")
    verbs = p.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (help_text, module, add_arguments, _) in _VERBS.items():
        sub = verbs.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
        if name == verb:
            getattr(importlib.import_module(f"edge_app.commands.{module}"), add_arguments)(sub)
    return p


def command() -> None:
    """Run one verb as a process of its own, which ends with the exit code."""
    run_and_end(main)


if __name__ == "__main__":
    command()
