"""Records that are written behind: at once in memory, on the disk at the end of a turn, in one transaction.

The disk may be full, read-only or failing at any time, and the service goes on. So what is not on the disk yet is kept
here, records that are to be put and those that are to be deleted; a commit writes them, and one that fails leaves them
for the next try. Readers see both as one. A store that is found spoilt is moved aside and begun anew.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from edge_app.store.clock import StoreClock
from edge_app.store.database import (
    FAULTS,
    DatabaseSpoiltError,
    is_in_use,
    is_spoilt,
    move_aside,
    open_database,
    transaction,
)
from edge_app.store.record import Record

RETRY_S = 5.0  # a disk that had no room is asked again this often
WIPE_S = 30.0  # after a deletion, until nothing of what was deleted can be read from the file or its log
SYNC_S = 1.0  # what need not be durable at once is durable after this

COLUMNS = "kind, id, msg_id, topic, payload, correlation, stored_s"

log = logging.getLogger(__name__)


class Records:
    """All records of a node, by kind and in order. Owned by one thread; no method raises for what the disk does.

    Records of `durable_kinds` are safe from a power cut after `commit`, others a second later. Without a `path`
    everything is in memory.
    """

    def __init__(self, path: Path | None, limit_bytes: int, durable_kinds: frozenset[str]) -> None:
        self.problem: str | None = None
        """Why records are in memory only; None while the disk takes them."""
        self.aside = 0
        """How often the store was spoilt, or gone, and begun anew."""
        self.counts: Counter[str] = Counter()
        self.sizes: Counter[str] = Counter()
        """Records there are, and their bytes, by kind."""
        self.unsaved_bytes = 0
        """Bytes of records that only memory holds."""
        self.openings = 0
        """How often a file was opened. After each, there may be records that are older than those seen before."""
        self._path, self._limit_bytes, self._durable_kinds = path, limit_bytes, durable_kinds
        self._connection: sqlite3.Connection | None = None
        self._clock = StoreClock()
        self._unsaved: dict[int, Record] = {}
        self._undeleted: dict[int, str] = {}  # id: kind
        self._gone_to: dict[str, int] = {}  # kind: of those the disk holds, all up to this one are to be deleted
        self._file_id: tuple[int, int] | None = None  # device and inode of the file that is open
        self._tally: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()  # the part of the tally that the file does not have
        self._wipe_at_s = math.inf  # monotonic time
        self._spoilt_to_id = 0  # records up to this one are gone, but for the survivors
        self._survivors: set[int] = set()
        self._unsynced_since_s: float | None = None  # monotonic time of the first commit that was not durable
        self._retry_s = 0.0
        # Should the file turn up later, then with ids below this: only order hangs on this clock.
        self._last_id = time.time_ns() // 1000
        if path is not None:
            self._open(path)

    @property
    def now_s(self) -> float:
        """Seconds that this store has been in use, over restarts; `Record.stored_s` is on this clock."""
        return self._clock.now_s

    def next_id(self) -> int:
        """An id above all others."""
        self._last_id += 1
        return self._last_id

    def put(self, record: Record) -> None:
        """Add a record; a commit takes it to the disk."""
        self._unsaved[record.id] = record
        self.unsaved_bytes += record.size_bytes
        self._count(record, 1)

    def delete(self, record: Record) -> bool:
        """Remove a record, once; False if it went with a spoilt store, and was counted then."""
        if record.id <= self._spoilt_to_id and record.id not in self._survivors:
            return False
        self._count(record, -1)
        if self._unsaved.pop(record.id, None) is None:
            self._undeleted[record.id] = record.kind
        else:  # one that never reached the disk never will
            self.unsaved_bytes -= record.size_bytes
        return True

    def first(self, kind: str, after: int = 0, *, unsaved_only: bool = False) -> Record | None:
        """The oldest record of a kind whose id is above `after`."""
        # Ids grow, so the dictionary is in their order; and what is unsaved is younger than what is saved, but for
        # a file that was found later.
        unsaved = (record for record in self._unsaved.values() if record.kind == kind and record.id > after)
        candidates = [next(unsaved, None), None if unsaved_only else self._first_saved(kind, after)]
        return min((record for record in candidates if record), key=lambda record: record.id, default=None)

    def all(self, kind: str) -> Iterator[Record]:
        """Every record of a kind, oldest first."""
        record = self.first(kind)
        while record is not None:
            yield record
            record = self.first(kind, record.id)

    def tally(self, name: str) -> int:
        """A count that outlives restarts."""
        return self._tally[name]

    def add(self, name: str, number: int = 1) -> None:
        """Add to a count; it goes to the disk with the next records."""
        self._tally[name] += number
        self._untold[name] += number

    def commit(self) -> None:
        """Take to the disk what has come and gone since the last time; never raises, `problem` tells."""
        now_s = time.monotonic()
        self._look_at_file()
        if self._path is None or now_s < self._retry_s:
            return
        wipe_is_due = now_s >= self._wipe_at_s
        is_late = self._unsynced_since_s is not None and now_s - self._unsynced_since_s >= SYNC_S
        has_news = bool(self._unsaved or self._undeleted) or is_late
        if has_news and not self._save(self._path, now_s, is_late=is_late):
            return
        if wipe_is_due:  # under a steady load there may be no turn without news
            self._wipe(self._path)

    def _save(self, path: Path, now_s: float, *, is_late: bool) -> bool:
        """Write what the disk does not have yet; False if that failed, and all of it is kept for the next try."""
        durable = is_late or any(record.kind in self._durable_kinds for record in self._unsaved.values())
        connection = self._connection or self._open(path)
        if connection is None:
            return False
        try:
            self._write(connection, durable=durable)
        except FAULTS as error:
            self._fail(path, error)
            return False
        if self._undeleted:
            self._wipe_at_s = min(self._wipe_at_s, now_s + WIPE_S)
        self._unsaved.clear()
        self._undeleted.clear()
        self._gone_to.clear()
        self._untold.clear()
        self.unsaved_bytes = 0
        self._unsynced_since_s = None if durable else (self._unsynced_since_s or now_s)
        self._recover()
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _wipe(self, path: Path) -> None:
        """Empty SQLite's log, which still has what was deleted; in the file it is overwritten (`secure_delete`).

        It is tried until it has worked, and so also tells whether a disk that failed works again.
        """
        connection = self._connection or self._open(path)
        if connection is None:
            return
        try:
            is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except FAULTS as error:
            self._fail(path, error)
            return
        self._wipe_at_s = time.monotonic() + RETRY_S if is_busy else math.inf
        self._recover()

    def _write(self, connection: sqlite3.Connection, *, durable: bool) -> None:
        rows = [(*vars(record).values(), record.size_bytes, record.checksum) for record in self._unsaved.values()]
        with transaction(connection, durable=durable):
            connection.executemany("DELETE FROM record WHERE id = ? AND kind = ?", self._undeleted.items())
            connection.executemany(
                f"INSERT INTO record ({COLUMNS}, size_bytes, crc32) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows
            )
            connection.executemany(
                "INSERT INTO tally VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                self._untold.items(),
            )
            self._clock.save(connection)

    def _first_saved(self, kind: str, after: int) -> Record | None:
        """The oldest of a kind that the disk holds and that is not to be deleted."""
        gone_to = self._gone_to.get(kind, 0)
        from_start, after = after <= gone_to, max(after, gone_to)
        while self._connection is not None and self._path is not None:
            try:
                row = self._connection.execute(
                    f"SELECT {COLUMNS}, crc32 FROM record WHERE kind = ? AND id > ? ORDER BY id LIMIT 1", (kind, after)
                ).fetchone()
                if row is None:
                    return None
                record = Record(*row[:-1])
                if record.checksum != row[-1] or record.kind != kind or record.id <= after:
                    raise DatabaseSpoiltError(f"record {record.id} is not what was written")
            except FAULTS as error:
                self._fail(self._path, error)
                return None
            if record.id not in self._undeleted:
                return record
            after = record.id
            if from_start:  # a disk that deletes nothing for long would be searched from the start each time
                self._gone_to[kind] = after
        return None

    def _open(self, path: Path) -> sqlite3.Connection | None:
        """Open the file, or a new one in place of a spoilt one, and take up what it holds; None if it cannot be had."""
        for _ in range(2):
            try:
                self._connection = open_database(path, self._limit_bytes)
                self._file_id = _file_id(path)
                self._read(self._connection)
            except FAULTS as error:
                self.close()
                self._fail(path, error)
                if self._retry_s:
                    break
            else:
                self.openings += 1
                self._wipe_at_s = time.monotonic()  # an earlier run may have been killed before it did
                self._recover()
                break
        return self._connection

    def _look_at_file(self) -> None:
        """A file that somebody removed takes every commit, and none of it is there after a restart."""
        if self._connection is not None and self._path is not None and _file_id(self._path) != self._file_id:
            self._fail(self._path, DatabaseSpoiltError("it was removed, or another file put in its place"))

    def _read(self, connection: sqlite3.Connection) -> None:
        """Take up what the file holds. One of FAULTS."""
        saved = connection.execute(
            "SELECT kind, count(*), sum(size_bytes), max(id) FROM record GROUP BY kind"
        ).fetchall()
        tally = dict(connection.execute("SELECT name, value FROM tally").fetchall())
        forward_s = self._clock.load(connection)
        for kind, count, size_bytes, last_id in saved:
            self.counts[kind] += count
            self.sizes[kind] += size_bytes
            self._last_id = max(self._last_id, last_id)
        self._tally.update(tally)
        self._unsaved = {
            record.id: dataclasses.replace(record, stored_s=record.stored_s + forward_s)
            for record in self._unsaved.values()
        }

    def _fail(self, path: Path, error: Exception) -> None:
        """Go on in memory for a while; a file that is spoilt is replaced at the next occasion."""
        self._retry_s = time.monotonic() + RETRY_S
        self._wipe_at_s = min(self._wipe_at_s, self._retry_s)  # the disk is tried again though no record may come
        if not is_spoilt(error):
            in_use = " by another process; end the other edge-app" if is_in_use(error) else ""
            self._tell(f"{path} cannot be used: {error}{in_use}")
            return
        self.close()
        self._forget_saved()
        self._tell(f"{path} was spoilt: {error}")
        self.aside += 1
        aside = move_aside(path)
        if aside is not None or not path.exists():
            self._retry_s = 0.0
            log.error("store is begun anew path=%s aside=%s", path, aside)

    def _forget_saved(self) -> None:
        """The file is gone, and only what memory holds remains; `<kind>.lost` tells how many records it took."""
        remaining, sizes = Counter[str](), Counter[str]()
        for record in self._unsaved.values():
            remaining[record.kind] += 1
            sizes[record.kind] += record.size_bytes
        for kind, count in (self.counts - remaining).items():
            self._tally[f"{kind}.lost"] += count
        self.counts, self.sizes = remaining, sizes
        self._spoilt_to_id, self._survivors = self._last_id, set(self._unsaved)
        self._undeleted.clear()
        self._gone_to.clear()
        self._untold = Counter(self._tally)

    def _recover(self) -> None:
        if self.problem is not None:
            log.info("store works again path=%s", self._path)
        self.problem, self._retry_s = None, 0.0

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("store works in memory problem=%r", problem)
        self.problem = problem

    def _count(self, record: Record, sign: Literal[1, -1]) -> None:
        self.counts[record.kind] += sign
        self.sizes[record.kind] += sign * record.size_bytes


def _file_id(path: Path) -> tuple[int, int] | None:
    """What the file is, whatever its name; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
