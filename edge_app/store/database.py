"""One SQLite file that is never trusted: what is wrong with it, it is moved aside, and a new one is begun.

WAL, because a process killed at any moment leaves a whole database; `synchronous=FULL` where a commit must outlive a
power cut (SQLite documentation, "Atomic Commit" and "Write-Ahead Logging"). The file is locked for this process alone:
a second service on the same folder works from memory and says so, instead of sending everything twice.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

SCHEMA_VERSION = 1
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS record (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    msg_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    correlation BLOB,
    stored_s REAL NOT NULL,
    size_bytes INTEGER NOT NULL,
    crc32 INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS record_by_kind ON record (kind, id);
CREATE TABLE IF NOT EXISTS tally (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (clock_s REAL NOT NULL, monotonic_s REAL NOT NULL, boot_id TEXT NOT NULL) STRICT;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
PAGE_BYTES = 4096
HEADROOM = 2  # of the file's size over the bytes of the messages in it: indexes, half-empty pages, a checkpoint's lag
ASIDE_KEPT = 2  # spoilt files are evidence, and must not fill the disk

log = logging.getLogger(__name__)


class DatabaseSpoiltError(sqlite3.DatabaseError):
    """The file does not hold what was written to it."""


def is_spoilt(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault (corrupt, no database, another schema), not the disk around it."""
    # OperationalError (full, read-only, locked, I/O) is a DatabaseError too; IntegrityError is a row that cannot be.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, DatabaseSpoiltError) or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_database(path: Path, limit_bytes: int) -> sqlite3.Connection:
    """Open or create the store at `path`, which may grow to about twice `limit_bytes`.

    Raises:
        sqlite3.Error: it cannot be used; `is_spoilt` tells whether moving it aside would mend that.
        OSError: its folder cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Answers may be private, and the umask would choose otherwise. SQLite gives its journals the mode of the file.
    path.touch(mode=0o600)
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=0.1, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA max_page_count = {HEADROOM * limit_bytes // PAGE_BYTES + 64}")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise DatabaseSpoiltError(f"SQLite's check of {path} says {verdict!r}.")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise DatabaseSpoiltError(f"{path} has layout {version}, and this version knows {SCHEMA_VERSION} only.")
        if version == 0:
            connection.executescript(SCHEMA)
        with transaction(connection, durable=False):
            pass  # SQLite opens a file that it may not write for reading, and would say so only at the first message
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, *, durable: bool) -> Iterator[None]:
    """One transaction; `durable` waits until the disk has it, and all that was committed before.

    Raises sqlite3.Error, and then nothing of it has happened.
    """
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # it may have been rolled back by SQLite itself
            connection.execute("ROLLBACK")
        raise


def move_aside(path: Path) -> Path | None:
    """Rename a spoilt store and its companions; where it lies now, or None if even that failed."""
    number = 1
    while (aside := path.with_name(f"{path.name}.spoilt-{number}")).exists():
        number += 1
    try:
        path.replace(aside)
    except OSError:
        log.exception("store cannot be moved aside path=%s", path)
        return None
    for companion in (f"{path.name}-wal", f"{path.name}-shm", f"{path.name}.spoilt-{number - ASIDE_KEPT}"):
        with contextlib.suppress(OSError):  # gone already, or a folder that has become read-only meanwhile
            path.with_name(companion).unlink()
    return aside
