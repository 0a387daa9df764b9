"""One row of the store."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

ROW_BYTES = 64  # what a row takes beside its texts, about


@dataclass(frozen=True)
class Record:
    """One message, or one question; `id` orders those of a kind."""

    kind: str
    id: int
    msg_id: str
    topic: str
    payload: bytes
    correlation: bytes | None
    stored_s: float
    """When it was stored, on the clock of `Records.now_s`."""

    @property
    def size_bytes(self) -> int:
        """What it takes in the store, about."""
        return ROW_BYTES + len(self.payload) + len(self.topic.encode()) + len(self.correlation or b"")

    @property
    def checksum(self) -> int:
        """CRC-32 of all its fields: SQLite does not notice a changed byte."""
        texts = "\0".join([self.kind, str(self.id), self.msg_id, self.topic, repr(self.stored_s)])
        correlation = b"-" if self.correlation is None else b"+" + self.correlation
        return zlib.crc32(self.payload, zlib.crc32(correlation, zlib.crc32(texts.encode())))
