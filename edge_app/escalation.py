"""The ladder: what is done about a part that fails, from the gentlest to the last, and how often it was done.

retry -> reopen -> kill the child -> next device -> exit (systemd restarts) -> stop feeding the watchdog. Each rung has
a limit after which the next one is taken, and none is the end: what was given up is tried again later. The table in
docs/architecture.md has the limits. The upper rungs are for faults of this program and of the system under it only: a
device without camera, broker, display or working model is degraded, and a new service would not mend that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_GIVEN_UP = 75  # EX_TEMPFAIL of sysexits.h, "try again later": systemd starts the service anew
SPAWN_LIMIT_S = 120.0  # for so long the system may refuse to start a child, for lack of memory or process numbers
OVERDUE_LIMIT_S = 20.0  # for so long a thread may be overdue while this one runs


@dataclass
class Rungs:
    """How often each rung was taken for one child since the service started. Each number has one writer."""

    retry: int = 0
    """Requests that were made again, of a new process."""
    reopen: int = 0
    """Times that the process opened its source again."""
    restart: int = 0
    """Processes started in place of one that ended or was killed."""
    kill: int = 0
    """Processes killed because they missed a deadline or were of no use."""
    next_device: int = 0
    """Devices left out for some time."""


class LastResort:
    """Decides when only a new service can help. Asked by the main thread, at every look around."""

    def __init__(self) -> None:
        self._overdue_since_s: float | None = None

    def reason(self, now_s: float, overdue: Sequence[str], refused_since_s: Sequence[float | None]) -> str | None:
        """Why the service has to end now, as a sentence; None while it can do its work, or something of it.

        Args:
            now_s: monotonic clock.
            overdue: threads that have broken their promise to report.
            refused_since_s: of each child, since when the system has refused to start it; None where it does not.
        """
        # Counted from the first look at it: after the whole service was stopped for a while, all threads are overdue.
        if not overdue:
            self._overdue_since_s = None
        elif self._overdue_since_s is None:
            self._overdue_since_s = now_s
        elif now_s - self._overdue_since_s >= OVERDUE_LIMIT_S:
            return f"The thread {' and '.join(overdue)} does not report any more."
        refused_s = max((now_s - since_s for since_s in refused_since_s if since_s is not None), default=0.0)
        if refused_s >= SPAWN_LIMIT_S:
            return f"The system has refused to start a child process for {refused_s:.0f} s."
        return None
