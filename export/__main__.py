"""`python -m export CHECKPOINT OUT`: a checkpoint becomes a bundle for the board; further commands look at bundles.

Little is imported before `main` runs, so that Ctrl-C in the seconds that torch takes is told like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from export.stopping import stoppable

# First argument -> the module whose `main(argv)` takes the rest; anything else is a checkpoint to export.
COMMANDS = {
    "compare": "export.compare",
    "evaluate-demo": "export.demo.evaluate",
    "sweep": "export.sweep",
}
EXPORT = "export.command_line"


def main(argv: Sequence[str] | None = None) -> int:
    """Run an export, or one of `COMMANDS`; returns the exit code, 130 after Ctrl-C or SIGTERM."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "export"
    return stoppable(name, lambda: import_module(COMMANDS.get(name, EXPORT)).main(arguments))


if __name__ == "__main__":
    sys.exit(main())
