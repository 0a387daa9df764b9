"""A clock that nobody can set: seconds that a store has been in use.

Ages of messages must hold when the board's clock jumps (1970 after a flat battery, then NTP), so they are counted on
the monotonic clock. It goes on over restarts of the service; the time for which the machine is off is not counted.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4): another one after each start of the machine


class StoreClock:
    """The clock of one store; it begins at 0."""

    def __init__(self) -> None:
        self._base_s = -time.monotonic()
        self._boot_id = BOOT_ID.read_text(encoding="ascii").strip()

    @property
    def now_s(self) -> float:
        """Seconds in use."""
        return self._base_s + time.monotonic()

    def load(self, connection: sqlite3.Connection) -> float:
        """Go on from what `save` wrote last; by how many seconds this clock has been put forward. sqlite3.Error."""
        row = connection.execute("SELECT clock_s, monotonic_s, boot_id FROM clock").fetchone()
        if row is None:
            return 0.0
        clock_s, monotonic_s, boot_id = row
        before_s = self._base_s
        self._base_s = clock_s - (monotonic_s if boot_id == self._boot_id else time.monotonic())
        return self._base_s - before_s

    def save(self, connection: sqlite3.Connection) -> None:
        """Write what time it is, inside the caller's transaction. sqlite3.Error."""
        connection.execute("DELETE FROM clock")
        connection.execute("INSERT INTO clock VALUES (?, ?, ?)", (self.now_s, time.monotonic(), self._boot_id))
