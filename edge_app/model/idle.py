"""Wait until nothing is compiled in the background any more.

A GPU plugin builds kernels for the shapes it has met in threads of its own, after the request that met them is done,
and writes them to the folder of compiled graphs. It does not say when it is through; but building is processor work of
this process, and a process that only waits does none.
"""

from __future__ import annotations

import time

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
        since_s, spent_s = time.monotonic(), time.process_time()
        time.sleep(_POLL_S)
        passed_s = time.monotonic() - since_s
        quiet_s = quiet_s + passed_s if time.process_time() - spent_s < _BUSY_SHARE * passed_s else 0.0
    return True
