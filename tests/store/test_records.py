"""Records: what a commit holds, what a full, read-only or busy disk does to them, and what deletion leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from edge_app.store import records as records_module
from edge_app.store.clock import StoreClock
from tests.store.harness import make, path, payloads, put

__all__ = ["path"]
ROOT = Path(__file__).parents[2]


def on_disk(path: Path, secret: bytes) -> bool:
    return any(secret in file.read_bytes() for file in path.parent.iterdir())


def test_records_are_one_sequence_on_disk_and_in_memory(path: Path) -> None:
    """Readers do not see what has been committed and what has not."""
    records = make(path)
    first, _ = put(records, b"0", b"1")
    records.commit()
    put(records, b"2")
    records.delete(first)
    assert payloads(records) == [b"1", b"2"]
    records.commit()
    assert payloads(records) == [b"1", b"2"] and records.counts["answer"] == 2
    records.close()


def test_a_killed_process_loses_nothing_that_it_committed(path: Path) -> None:
    """SIGKILL between two commits: the first is whole, the second never was."""
    program = f"""
        import os, signal
        from pathlib import Path
        from edge_app.store.record import Record
        from edge_app.store.records import Records
        records = Records(Path({str(path)!r}), 2**20, frozenset())
        for number in range(20):
            records.put(Record("answer", records.next_id(), "m", "t", b"%d" % number, None, 0.0))
            records.add("answer.accepted")
            if number == 14:
                records.commit()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    records = make(path)
    assert payloads(records) == [b"%d" % number for number in range(15)]
    assert records.tally("answer.accepted") == 15
    records.close()


def test_only_the_owner_may_read_the_file(path: Path) -> None:
    """Answers about what a camera saw are nobody else's business, in the journal beside the file neither."""
    umask = os.umask(0)
    try:
        records = make(path)
    finally:
        os.umask(umask)
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.glob(f"{path.name}*")}
    records.close()
    assert modes == {path.name: "0o600", f"{path.name}-wal": "0o600"}


def test_a_disk_that_takes_nothing_is_lived_with_and_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Records go on in memory, in order, and reach the disk when it has room; said once, not at each try."""
    monkeypatch.setattr(records_module, "RETRY_S", 0.0)
    records = make(path)
    (first,) = put(records, b"0")
    records.commit()
    assert records._connection is not None
    (pages,) = records._connection.execute("PRAGMA page_count").fetchone()
    records._connection.execute(f"PRAGMA max_page_count = {pages}")
    put(records, b"1" * 50_000)
    records.delete(first)
    for _ in range(3):
        records.commit()
    assert records.problem is not None and "full" in records.problem
    assert sum("works in memory" in record.message for record in caplog.records) == 1
    assert payloads(records) == [b"1" * 50_000] and records.unsaved_bytes > 50_000
    records._connection.execute("PRAGMA max_page_count = 10000")
    records.commit()
    assert records.problem is None and records.unsaved_bytes == 0
    records.close()
    assert payloads(make(path)) == [b"1" * 50_000]


def test_a_backlog_that_cannot_be_deleted_is_not_searched_anew_each_time(path: Path) -> None:
    """A disk that turned read-only with 5,000 records on it: looking for the next costs one query, not 5,000."""
    records = make(path)
    held = put(records, *(b"%d" % number for number in range(5000)))
    records.commit()
    assert records._connection is not None
    records._connection.execute("PRAGMA query_only = ON")
    for record in held:
        records.delete(record)
    records.commit()
    assert records.problem is not None and records.first("answer") is None
    queries: list[str] = []
    records._connection.set_trace_callback(queries.append)
    assert records.first("answer") is None
    assert len(queries) == 1
    records.close()


def test_a_folder_that_cannot_be_used_leaves_memory(tmp_path: Path) -> None:
    """A file in place of the folder, here: root may write to read-only folders."""
    (tmp_path / "state").write_text("in the way")
    records = make(tmp_path / "state" / "messages.db")
    put(records, b"0")
    records.commit()
    assert records.problem is not None and payloads(records) == [b"0"]


def test_a_second_service_on_one_store_works_in_memory_until_the_first_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both would send everything; ids of the two never clash when the second takes the file over."""
    monkeypatch.setattr(records_module, "RETRY_S", 0.0)
    first, second = make(path), make(path)
    put(first, b"of the first")
    first.commit()
    put(second, b"of the second")
    second.add("answer.accepted")
    second.commit()
    assert second.problem is not None and "end the other edge-app" in second.problem
    first.close()
    second.commit()
    assert second.problem is None
    assert payloads(second) == [b"of the first", b"of the second"]
    assert (second.counts["answer"], second.tally("answer.accepted")) == (2, 1)
    second.close()


def test_the_clock_of_a_store_cannot_be_set(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on over restarts of the service, and of the machine, whatever the wall clock says."""
    records = make(path)
    records._clock._base_s += 1000
    put(records, b"0")
    records.commit()
    records.close()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    again = make(path)
    assert 1000 <= again.now_s < 1100
    again.close()

    class OtherBoot(StoreClock):
        def __init__(self) -> None:
            super().__init__()
            self._boot_id = "another"

    monkeypatch.setattr(records_module, "StoreClock", OtherBoot)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    rebooted = make(path)
    assert 1000 <= rebooted.now_s < 1100
    rebooted.close()


def test_what_was_deleted_cannot_be_read_from_the_disk_any_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that has its answer is nobody's business; neither the file nor SQLite's log keeps it."""
    monkeypatch.setattr(records_module, "WIPE_S", 0.0)
    records = make(path)
    secret, _ = put(records, b"SECRET " * 100, b"kept")
    records.commit()
    records.delete(secret)
    records.commit()
    assert on_disk(path, b"SECRET"), "the deletion alone does not remove it"
    records.commit()  # of a turn in which nothing happened
    assert not on_disk(path, b"SECRET") and on_disk(path, b"kept")
    put(records, b"SECRET again")
    records.commit()
    records.close()
    assert payloads(make(path)) == [b"kept", b"SECRET again"]


def disk_error() -> sqlite3.OperationalError:
    """What SQLite raises where the disk takes nothing for a moment."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    return error


class FailingOnce:
    """A connection whose next wipe fails, as on a disk with one bad moment, or is told to be busy."""

    def __init__(self, connection: sqlite3.Connection, failure: str) -> None:
        self._connection, self._failure = connection, failure

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        if "wal_checkpoint" in sql and self._failure:
            failure, self._failure = self._failure, ""
            if failure == "busy":
                return self._connection.execute("SELECT 1, 3, 0")
            raise disk_error()
        return self._connection.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


@pytest.mark.parametrize(("failure", "problem"), [("disk I/O error", "disk I/O error"), ("busy", None)])
def test_a_wipe_that_fails_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, failure: str, problem: str | None
) -> None:
    """Without a new record: what was deleted goes from the log, and the store says that its disk works again."""
    monkeypatch.setattr(records_module, "WIPE_S", 0.0)
    monkeypatch.setattr(records_module, "RETRY_S", 0.0)
    records = make(path)
    (secret,) = put(records, b"SECRET " * 100)
    records.commit()
    records.delete(secret)
    records.commit()
    records._connection = FailingOnce(records._connection, failure)  # type: ignore[arg-type,assignment]
    records.commit()
    assert on_disk(path, b"SECRET")
    assert (problem in (records.problem or "")) if problem else (records.problem is None)
    records.commit()
    assert not on_disk(path, b"SECRET") and records.problem is None
    records.close()


def test_a_read_that_fails_once_is_over_when_the_disk_works(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that nobody writes to is tried again, too: its mode is `disk` as soon as that is true."""
    monkeypatch.setattr(records_module, "RETRY_S", 0.0)
    records = make(path)
    put(records, b"0")
    records.commit()
    records._fail(path, disk_error())
    assert records.problem is not None
    records.commit()
    assert records.problem is None and payloads(records) == [b"0"]
    records.close()


def test_what_was_deleted_goes_under_a_steady_load_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn in which nothing is written may never come."""
    monkeypatch.setattr(records_module, "WIPE_S", 0.0)
    records = make(path)
    (secret,) = put(records, b"SECRET " * 100)
    records.commit()
    records.delete(secret)
    records.commit()
    put(records, b"news")
    records.commit()
    assert not on_disk(path, b"SECRET") and on_disk(path, b"news")
    records.close()
