"""Ctrl-C and SIGTERM end a command of the demo alike: one line, no traceback, exit code 130.

`python -m export` does the same for its own commands. Modules that train import torch inside their `main`, so that a
person who changes his mind in the first seconds is obeyed, too.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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


@contextmanager
def signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block, and never reach a process that is forked in it.

    They come to every process of a terminal. A worker that one of them ended would be an error of its own in the
    trainer, and in the trainer an exception out of the functions that Python calls at a fork is lost.
    """
    taken: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: taken.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    signal.pthread_sigmask(signal.SIG_BLOCK, before)  # of this thread, the only one that the forked process has
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in taken:
        signal.raise_signal(late)
