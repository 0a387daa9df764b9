"""The version of MQTT that was chosen is the one that is spoken, whatever a broker once made of it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from tests.mqtt.node import MakeNode, make_node

__all__ = ["make_node"]
UNACCEPTABLE_PROTOCOL = bytes([0x20, 2, 0, 1])  # CONNACK, MQTT 3.1.1, section 3.2.2.3


class RefusingBroker:
    """Refuses every version, and notes which was offered."""

    def __init__(self) -> None:
        self.levels: list[int] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._server.accept()
                with connection:
                    packet = connection.recv(1024)
                    (length,) = struct.unpack_from("!H", packet, 2)  # of the protocol's name; its level follows
                    self.levels.append(packet[4 + length])
                    connection.sendall(UNACCEPTABLE_PROTOCOL)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


def test_mqtt_311_is_tried_again_after_it_was_refused(make_node: MakeNode) -> None:
    """A broker that starts may refuse for a moment. 3.1, which paho tries then, knows neither long ids nor the rest."""
    broker = RefusingBroker()
    node = make_node(broker.port, protocol="3.1.1")
    node.until(lambda: broker.levels.count(4) >= 2, "MQTT 3.1.1 a second time")
    broker.close()
