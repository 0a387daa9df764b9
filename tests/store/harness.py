"""Records of one kind in a file, for tests: put into it, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_app.store.record import Record
from edge_app.store.records import Records

KINDS = frozenset({"answer"})


def make(path: Path | None) -> Records:
    return Records(path, 2**20, KINDS)


def put(records: Records, *payloads: bytes, kind: str = "answer") -> list[Record]:
    made = []
    for payload in payloads:
        record = Record(kind, records.next_id(), "m", "t", payload, None, records.now_s)
        records.put(record)
        made.append(record)
    return made


def payloads(records: Records, kind: str = "answer") -> list[bytes]:
    return [record.payload for record in records.all(kind)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "messages.db"
