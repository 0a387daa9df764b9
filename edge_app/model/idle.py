"""Wait until nothing is compiled in the background any more.

A GPU plugin builds kernels for the shapes it has met in threads of its own, after the request that met them is done,
and writes them to the folder of compiled graphs. It does not say when it is through; but building is processor work of
this process, and a process that only waits does none.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

QUIET_S = 1.0  # without work: the pause between two kernels is shorter
_POLL_S = 0.1
_BUSY_SHARE = 0.1  # of one core


def wait_until_idle(limit_s: float) -> bool:
    """Wait until this process has hardly computed for QUIET_S; False if it still does after `limit_s`."""
    deadline_s = time.monotonic() + limit_s
    quiet_s = 0.0
    while quiet_s < QUIET_S:
        if time.monotonic() >= deadline_s:
            return False
        since_s, before = time.monotonic(), _worked_ns()
        time.sleep(_POLL_S)
        passed_s = time.monotonic() - since_s
        spent_ns = sum(worked_ns - before.get(thread, 0) for thread, worked_ns in _worked_ns().items())
        quiet_s = quiet_s + passed_s if spent_ns < _BUSY_SHARE * passed_s * 1e9 else 0.0
    return True


def _worked_ns() -> dict[str, int]:
    """Thread -> how long it has run, or wanted to: on a busy machine a build that waits for a core has not ended.

    A kernel without these figures tells how long all threads ran.
    """
    worked_ns: dict[str, int] = {}
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError):  # the thread has ended
            ran_ns, waited_ns, _ = map(int, path.read_text(encoding="ascii").split())
            worked_ns[path.parent.name] = ran_ns + waited_ns
    return worked_ns or {"all": time.process_time_ns()}
