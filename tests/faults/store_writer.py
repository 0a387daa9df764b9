"""Writes to a store as the service does, nearly as fast: `python -m tests.faults.store_writer FOLDER [careless]`.

On stdout, one line each: `kept ID` when a commit that holds a message has returned, `gone ID` before it is delivered.
With `careless` nothing is durable, to show that a power cut then takes messages.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

from edge_app.store.outbox import DURABLE_KINDS, Message, Outbox
from edge_app.store.records import Records
from edge_app.store.store import FILE_NAME

LIMIT_BYTES = 8 * 2**20
PAUSE_S = 0.0005
WAITING = 100
PENDING = 200  # messages that wait at any time, once there are so many
PAYLOAD = b'{"text": "' + b"a red cup on a wooden table " * 15 + b'"}'


def outbox_in(folder: Path, *, careless: bool = False) -> tuple[Records, Outbox]:
    """The outbox of a store in `folder`."""
    records = Records(folder / FILE_NAME, LIMIT_BYTES, frozenset() if careless else DURABLE_KINDS)
    ages_s = {"answer": 1e6, "event": 1e6, "caption": 1e6}
    return records, Outbox(records, limit_bytes=LIMIT_BYTES, memory_bytes=2**20, max_age_s=ages_s)  # type: ignore[arg-type]


def main(argv: list[str]) -> None:
    """Write until the end."""
    records, outbox = outbox_in(Path(argv[0]), careless="careless" in argv)
    waiting: list[int] = []  # put, and not said to be on the disk
    numbers = itertools.count()
    while True:
        if len(waiting) < WAITING:  # more would be dropped while the disk takes nothing
            number = next(numbers)
            kind = "event" if number % 5 == 0 else "answer"
            outbox.put(Message(kind, str(number), "edge_app/kitchen/answer", PAYLOAD))  # type: ignore[arg-type]
            waiting.append(number)
        records.commit()
        if records.problem is None:
            print("".join(f"kept {each}\n" for each in waiting), end="", flush=True)
            waiting.clear()
            if outbox.pending > PENDING and (oldest := outbox.take()):
                print(f"gone {oldest.msg_id}", flush=True)
                outbox.deliver(oldest)
        time.sleep(PAUSE_S)


def messages_in(folder: Path) -> tuple[set[str], bool]:
    """The messages of a store that nobody writes, and whether it was spoilt or could not be used."""
    records, outbox = outbox_in(folder)
    found = set()
    while record := outbox.take():
        found.add(record.msg_id)
    records.close()
    return found, bool(records.aside or records.problem)


class Kept:
    """What the lines of a writer say that its store holds."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self._rest = b""

    def read(self, output: bytes) -> None:
        """Take some more of its output."""
        whole, _, self._rest = (self._rest + output).rpartition(b"\n")
        for line in whole.decode().splitlines():
            word, number = line.split()
            (self.ids.add if word == "kept" else self.ids.discard)(number)


if __name__ == "__main__":
    main(sys.argv[1:])
