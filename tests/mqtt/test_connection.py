"""What the connection asks of the kernel; what it makes of a broker: test_access.py and test_network_thread.py."""

from __future__ import annotations

import socket
import struct

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from edge_app.mqtt.connection import _acknowledge_at_once

UNACKED_OFFSET = 24  # of tcpi_unacked, a u32, in struct tcp_info (linux/tcp.h)


class _Connected(Client):
    """A client of a socket that is no broker's."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(CallbackAPIVersion.VERSION2)
        self._plain = sock

    def socket(self) -> socket.socket:
        return self._plain


def test_what_has_come_is_acknowledged_before_the_kernel_would() -> None:
    """A broker without TCP_NODELAY sends its next small packet only then.

    The kernel holds an acknowledgement back for 40 ms or more on a connection that it has seen to answer; this test
    looks within microseconds.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with ours, theirs:
        for _ in range(50):  # should this process be held up before it looks, the kernel has been quicker
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
            theirs.send(b"@\x02\x00\x01")  # a PUBACK
            assert len(ours.recv(16)) == 4
            if _unacknowledged(theirs):
                break
        else:
            pytest.skip("The kernel was quicker than this process fifty times: nothing is left to see.")
        _acknowledge_at_once(_Connected(ours))
        assert _unacknowledged(theirs) == 0


def test_a_connection_that_has_just_broken_is_no_error() -> None:
    """paho may call back when the socket has gone."""
    _acknowledge_at_once(Client(CallbackAPIVersion.VERSION2))


def _unacknowledged(sock: socket.socket) -> int:
    """Segments sent by `sock` that its peer has not acknowledged."""
    unacked: int = struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), UNACKED_OFFSET)[0]
    return unacked
