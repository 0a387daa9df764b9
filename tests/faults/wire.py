"""Just enough of MQTT 5 (OASIS standard, sections 2.1, 3.3, 3.4) to see on the wire what was acknowledged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

PUBLISH, PUBACK = 3, 4


@dataclass
class Packets:
    """Splits a stream of bytes into whole packets."""

    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Take some more of the stream; `(type, flags, body)` of every packet that is whole by now."""
        self._rest += data
        while (found := _length(self._rest)) is not None:
            header_bytes, body_bytes = found
            if len(self._rest) < header_bytes + body_bytes:
                return
            first = self._rest[0]
            body = bytes(self._rest[header_bytes : header_bytes + body_bytes])
            del self._rest[: header_bytes + body_bytes]
            yield first >> 4, first & 15, body


@dataclass
class Witness:
    """Sees one connection of a node and notes in `acknowledged` each `msg_id` whose PUBACK came back."""

    acknowledged: set[str]
    _out: Packets = field(default_factory=Packets)
    _in: Packets = field(default_factory=Packets)
    _published: dict[int, str] = field(default_factory=dict)  # packet identifier: msg_id

    def sent(self, data: bytes) -> None:
        """Bytes that went from the node to the broker."""
        for kind, flags, body in self._out.feed(data):
            if kind == PUBLISH and flags & 0b0110:  # QoS above 0
                topic_bytes = int.from_bytes(body[:2], "big")
                packet_id = int.from_bytes(body[2 + topic_bytes : 4 + topic_bytes], "big")
                start = 4 + topic_bytes
                header_bytes, properties_bytes = _length(b"\0" + body[start:]) or (1, 0)
                if (msg_id := _msg_id(body[start + header_bytes - 1 + properties_bytes :])) and not flags & 1:
                    self._published[packet_id] = msg_id  # a retained one is not promised to anybody

    def received(self, data: bytes) -> None:
        """Bytes that went from the broker to the node."""
        for kind, _, body in self._in.feed(data):
            refused = len(body) > 2 and body[2] >= 0x80
            msg_id = self._published.pop(int.from_bytes(body[:2], "big"), None) if kind == PUBACK else None
            if msg_id and not refused:
                self.acknowledged.add(msg_id)


def _length(data: bytes | bytearray) -> tuple[int, int] | None:
    """Bytes of the fixed header, and of what follows; None while the length is not whole (section 1.5.5)."""
    value = 0
    for place, byte in enumerate(data[1:5]):
        value |= (byte & 127) << 7 * place
        if not byte & 128:
            return 2 + place, value
    return None


def _msg_id(payload: bytes) -> str | None:
    try:
        values = json.loads(payload)
    except ValueError:
        return None
    return values.get("msg_id") if isinstance(values, dict) else None
