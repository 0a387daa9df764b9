"""A file that is spoilt, foreign or gone: it is moved aside, a new one works at once, and nothing wrong is sent."""

from __future__ import annotations

import os
import random
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_app.store.database import ASIDE_KEPT
from tests.store.harness import make, path, payloads, put

__all__ = ["path"]


def set_layout(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


SPOILT: dict[str, Callable[[Path], object]] = {
    "random bytes": lambda path: path.write_bytes(b"\x5a\xa5" * 8192),
    "header of zeros": lambda path: path.write_bytes(b"\0" * 100 + path.read_bytes()[100:]),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2 // 512 * 512 + 77),
    "another layout": set_layout,
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_store_is_moved_aside_and_begun_anew(path: Path, how: str) -> None:
    """Whatever lies there, a new store works at once; the old one is kept for whoever wants to look."""
    records = make(path)
    put(records, *(b"x" * 1000 for _ in range(30)))
    records.commit()
    records.close()
    SPOILT[how](path)
    records = make(path)
    assert (records.aside, records.problem) == (1, None)
    put(records, b"new")
    records.commit()
    records.close()
    assert payloads(make(path)) == [b"new"]
    assert path.with_name("messages.db.spoilt-1").exists()


def test_a_store_that_is_spoilt_while_it_is_used_is_replaced_and_what_it_held_counted(path: Path) -> None:
    """What only the file held is lost and told; what memory still holds goes to the new file."""
    records = make(path)
    held = put(records, *(b"%d" % number * 2000 for number in range(40)))
    records.commit()
    assert records._connection is not None
    records._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    records._connection.execute("PRAGMA shrink_memory")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    put(records, b"new")
    assert payloads(records)[-1:] == [b"new"]
    assert records.aside == 1 and records.tally("answer.lost") == 40
    assert records.counts["answer"] == 1
    assert not records.delete(held[0])  # an acknowledgement that comes for one of them changes no count
    assert records.counts["answer"] == 1
    records.commit()
    assert records.problem is None
    records.close()
    again = make(path)
    assert payloads(again) == [b"new"] and again.tally("answer.lost") == 40
    again.close()


def test_a_byte_that_changed_on_the_disk_is_never_sent(path: Path) -> None:
    """SQLite would hand it out; the row's own checksum does not."""
    records = make(path)
    put(records, b"the door is closed")
    records.commit()
    records.close()
    path.write_bytes(path.read_bytes().replace(b"door is closed", b"door is open!!"))
    records = make(path)
    assert payloads(records) == [] and records.aside == 1
    records.close()


def test_spoilt_files_do_not_fill_the_disk(path: Path) -> None:
    """Of many, the newest are kept."""
    for number in range(30):
        make(path).close()
        path.write_bytes(b"spoilt %d " % number * 1000)
    make(path).close()
    kept = sorted(each.read_bytes()[:9] for each in path.parent.glob("*.spoilt-*"))
    assert kept == [b"spoilt 28", b"spoilt 29"]
    assert len(kept) == ASIDE_KEPT


def test_any_flipped_bit_is_lived_with(path: Path) -> None:
    """Wherever it is: the store opens, hands out nothing but what was put, in order and to an end, and goes on."""
    records = make(path)
    put(records, *(b"%04d" % number for number in range(40)))
    records.commit()
    records.close()
    whole = path.read_bytes()
    rng = random.Random(8)
    for _ in range(300):
        place = rng.randrange(len(whole))
        broken = bytearray(whole)
        broken[place] ^= 1 << rng.randrange(8)
        for other in path.parent.iterdir():
            other.unlink()
        path.write_bytes(broken)
        records = make(path)
        seen = payloads(records)
        assert seen == sorted(set(seen)) and len(seen) <= 40, place
        assert {len(payload) for payload in seen} <= {4}, place
        put(records, b"new")
        records.commit()
        assert payloads(records)[-1] == b"new", place
        records.close()


def test_a_row_that_is_out_of_order_hides_none_behind_it(path: Path) -> None:
    """A kind with a flipped bit ends the search for those of its kind, and all later ones would wait for ever."""
    records = make(path)
    put(records, *(b"%04d" % number for number in range(40)))
    records.commit()
    records.close()
    broken = bytearray(path.read_bytes())
    places = [match.start() for match in re.finditer(rb"answer", broken)]
    assert len(places) == 40
    broken[places[20]] ^= 4  # one in the middle
    path.write_bytes(broken)
    records = make(path)
    assert records.aside == 1
    put(records, b"new")
    assert payloads(records) == [b"new"]


def test_a_file_that_is_removed_while_it_is_used_is_made_again(path: Path) -> None:
    """Each commit to a file without a name succeeds, and nothing of it is there after a restart."""
    records = make(path)
    put(records, b"0")
    records.commit()
    path.unlink()
    put(records, b"1")
    records.commit()
    records.commit()
    assert records.aside == 1 and records.tally("answer.lost") == 1
    records.close()
    assert payloads(make(path)) == [b"1"]
