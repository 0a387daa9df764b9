"""Ctrl-C, SIGTERM and SIGHUP end every command of the export alike: one line, no traceback, exit code 130.

Commands import torch inside their `main`, so that a person who changes his mind in the first seconds is obeyed, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from export.interruption import Interruption

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def stoppable(name: str, main: Callable[[], int]) -> int:
    """The exit code of `main`, which may raise KeyboardInterrupt with words about what is left."""
    status, left = EXIT_INTERRUPTED, ""
    with Interruption() as interruption:
        try:
            status = main()
        except KeyboardInterrupt as interrupt:
            left = str(interrupt)
        except Exception:
            if not interruption.asked:  # else it is what a library made of the interruption
                raise
    # Not said where it is caught: the error keeps the progress bars, and these end their line when it has gone.
    if status and interruption.asked:
        print(f"{name}: interrupted{left and '; '}{left}.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return status
