"""The end of a process that has loaded a model, without the wait for what nobody needs any more.

When OpenVINO's objects are freed, its GPU plugin first builds every kernel that it has begun in the background: some
seconds for a command that has long said its last word. So they are kept until the end, and the process then ends
without freeing them. What has to happen before does: exit functions run (logs, the list of compiled graphs), output is
flushed.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from typing import NoReturn

EXIT_BROKEN_PIPE = 1


class _End:
    """What this process keeps until its end; None where it ends by returning, as the tests' does."""

    kept: list[object] | None = None


def run_and_end(main: Callable[[], int]) -> None:
    """Call `main` and end this process with its exit code; an exception of it ends the process as usual."""
    _End.kept = []
    code = main()
    if not _End.kept:
        sys.exit(code)
    end_now(code)


def end_now(code: int) -> NoReturn:
    """Run the exit functions, flush the output and end this process: nothing is freed, no thread is waited for."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # the reader of our output has gone (`edge-app ... | head`)
            code = code or EXIT_BROKEN_PIPE
    os._exit(code)


def keep_until_end(thing: object) -> None:
    """Keep an object from being freed, where this process ends by `run_and_end`."""
    if _End.kept is not None:
        _End.kept.append(thing)
