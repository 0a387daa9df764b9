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

SCHEMA_VERSION = 2
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS record (
    kind TEXT NOT NULL,
    id INTEGER NOT NULL,
    msg_id TEXT NOT NULL,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    correlation BLOB,
    stored_s REAL NOT NULL,
    size_bytes INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;  -- one tree, no index beside it that could say something else
CREATE TABLE IF NOT EXISTS tally (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (clock_s REAL NOT NULL, monotonic_s REAL NOT NULL, boot_id TEXT NOT NULL) STRICT;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
PAGE_BYTES = 4096
HEADROOM = 2  # of the file's size over the bytes of the messages in it: indexes, half-empty pages, a checkpoint's lag
ASIDE_KEPT = 2  # spoilt files are evidence, and must not fill the disk
FAULTS = (sqlite3.Error, OSError, ValueError, TypeError, ArithmeticError)  # all that a file can make SQLite raise
DISK_FAULTS = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
)

log = logging.getLogger(__name__)


class DatabaseSpoiltError(sqlite3.DatabaseError):
    """The file does not hold what was written to it."""


def is_spoilt(error: Exception) -> bool:
    """Whether the file itself is at fault, not the disk around it.

    A flipped bit has many faces: a column that is no UTF-8 (OperationalError without a code), an error message that is
    none (UnicodeDecodeError), a table that is not there. So what is not known to be the disk's fault is the file's.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return not isinstance(error, OSError) and code not in DISK_FAULTS


def is_in_use(error: Exception) -> bool:
    """Whether another process holds the file."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def open_database(path: Path, limit_bytes: int) -> sqlite3.Connection:
    """Open or create the store at `path`, which may grow to about twice `limit_bytes`.

    Raises:
        one of FAULTS: it cannot be used; `is_spoilt` tells whether moving it aside would mend that.
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
        connection.execute("PRAGMA secure_delete = ON")  # not every build of SQLite has it on
        # Not quick_check, which does not compare the order of rows: one whose kind has changed would hide all after it.
        (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
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
    """Rename a spoilt store, and remove its companions and all but the newest of those before it.

    Returns where it lies now; None if there was none, or it could not be renamed.
    """
    former = sorted(path.parent.glob(f"{path.name}.spoilt-*"), key=_number)
    aside = path.with_name(f"{path.name}.spoilt-{_number(former[-1]) + 1 if former else 1}")
    try:
        path.replace(aside)
    except FileNotFoundError:
        return None
    except OSError:
        log.exception("store cannot be moved aside path=%s", path)
        return None
    old = former[: len(former) + 1 - ASIDE_KEPT]
    for companion in (*(path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm")), *old):
        with contextlib.suppress(OSError):  # gone already, or a folder that has become read-only meanwhile
            companion.unlink()
    return aside


def _number(aside: Path) -> int:
    digits = aside.name.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0
