"""Signals that wait until a process has been started."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signals_held() -> Iterator[None]:
    """What interrupts waits for the end of the block, and is blocked in a process that is started in it.

    Ctrl-C comes to every process of a terminal. One that it ended, or one that was told only half of what it needs,
    would say so in an error of its own; and an exception out of the functions that Python calls at a fork is lost.

    To block the signals alone is not enough: a thread of some library takes them, and Python's handler then runs in
    the main thread all the same. A started process unblocks what it wants to end by.
    """
    taken: list[int] = []
    # SIGALRM: what `export.interruption` raises by when the first exception was lost.
    before = {
        number: signal.signal(number, lambda number, _: taken.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    }
    signal.pthread_sigmask(signal.SIG_BLOCK, before)  # of this thread, the only one that a forked process has
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
        for number, handler in before.items():
            signal.signal(number, handler)
    for late in taken:
        signal.raise_signal(late)
