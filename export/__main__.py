"""`python -m export CHECKPOINT OUT`: a checkpoint becomes a bundle for the board; further commands look at bundles.

Little is imported before `main` runs, so that Ctrl-C in the seconds that torch takes is told like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from export.interruption import Interruption

# First argument -> the module whose `main(argv)` takes the rest; anything else is a checkpoint to export.
COMMANDS = {
    "compare": "export.compare",
    "evaluate-demo": "export.demo.evaluate",
    "sweep": "export.sweep",
}
EXPORT = "export.command_line"
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Run an export, or one of `COMMANDS`; returns the exit code, 130 after Ctrl-C or SIGTERM."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments and arguments[0] in COMMANDS else "export"
    status = EXIT_INTERRUPTED
    with Interruption() as interruption:
        try:
            status = import_module(COMMANDS.get(name, EXPORT)).main(arguments)
        except KeyboardInterrupt:
            pass
        except Exception:
            if not interruption.asked:  # else it is what a library made of the interruption
                raise
    # Not said where it is caught: the error keeps the progress bars, and these end their line when it has gone.
    if status and interruption.asked:
        print(f"{name}: interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return status


if __name__ == "__main__":
    sys.exit(main())
