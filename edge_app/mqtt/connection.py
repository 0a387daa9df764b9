"""paho, tamed: its callbacks only enqueue, its thread cannot die unseen, its reconnects back off with jitter.

An exception in a callback of paho ends its network thread while `is_connected()` still says True, and paho calls
`on_publish` with its own lock held. So nothing happens in a callback but the making of an event, inside one
wrapper; everything else is done by the thread that takes the events (session.py).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_app.backoff import Backoff
from edge_app.mqtt.credentials import password, tls_context
from edge_app.mqtt.events import (
    Acknowledged,
    Connected,
    Disconnected,
    Event,
    Refusal,
    SubscriptionsRefused,
    Unreachable,
)
from edge_app.mqtt.payloads import MAX_PAYLOAD_BYTES
from edge_app.mqtt.requests import Inbound, Receipt
from edge_app.settings import MqttConfig

MAX_PACKET_BYTES = 64 * 1024  # asked of an MQTT 5 broker; a 200 MB message would otherwise reach our memory
# The largest packet for a broker that does not say what it takes. One of 3.1.1 cannot, and would end the connection.
UNSAID_LIMIT_BYTES = {"5": 2**28, "3.1.1": 128 * 1024}  # no limit; that of docs/mosquitto/mosquitto.conf
SESSION_TAKEN_OVER = 0x8E
FINAL_REFUSALS = (0x87, 0x90, 0x95, 0x99)  # not authorized, bad topic name, packet too large, bad payload format
WINDOW = 8  # unacknowledged messages on the wire; the strictest usual broker (HiveMQ) allows 10
RECEIVE_WINDOW = 64  # unacknowledged messages that an MQTT 5 broker sends us; the inbox has room for more
STEADY_S = 30  # a connection that lasted this long was a success, and the back-off begins anew
SUSPICIOUS_CONNECTIONS = 3  # this many shorter ones in a row, and two clients seem to fight for one id
CONNECT_TIMEOUT_S = 5
# Between two turns of paho's loop: the longest wait for an attempt, and a name look-up that asks all its servers.
# Without progress for so long the thread is stuck, and no broker that comes back would mend that.
PROGRESS_S = 300.0

log = logging.getLogger(__name__)


P = ParamSpec("P")


class Offer(Protocol):
    """Where messages from the network go; False if there is no room."""

    def __call__(self, message: Inbound, *, owed: bool) -> bool:
        """Take a message; `owed`: the broker waits for its acknowledgement."""


def _guarded(
    callback: Callable[Concatenate[Connection, P], None],
) -> Callable[Concatenate[Connection, P], None]:
    """Keep paho's thread alive whatever a callback does."""

    @functools.wraps(callback)
    def wrapper(self: Connection, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception:
            log.exception("mqtt callback failed callback=%s", callback.__name__)

    return wrapper


class _Client(Client):
    """paho's client, which calls `on_turn` at every turn of its loop and at every attempt to connect."""

    def __init__(self, on_turn: Callable[[], None], *, protocol: MQTTProtocolVersion, **more: Any) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, protocol=protocol, **more)
        self._on_turn, self._chosen = on_turn, protocol

    def restore_protocol(self) -> None:
        """Speak the version that was chosen: refused once, paho would speak MQTT 3.1 for ever."""
        self._protocol = self._chosen

    def loop_misc(self) -> MQTTErrorCode:
        self._on_turn()
        return super().loop_misc()

    def reconnect(self) -> MQTTErrorCode:
        self._on_turn()
        return super().reconnect()


class Connection:
    """One client of one broker, which connects again for ever. ConfigError if its files cannot be used."""

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        will_topic: str,
        post: Callable[[Event], None],
        offer: Offer,
        *,
        promise: Callable[[str, float], None] = lambda _thread, _by_s: None,
    ) -> None:
        self._config = config
        self._post, self._offer = post, offer
        self._is_v5 = config.protocol == "5"
        self._backoff = Backoff(1, 25)  # with its jitter 0.8 to 30 s; only paho's thread uses it
        self._connected_s: float | None = None
        self._short_connections = 0  # in a row
        self._is_stopping = False
        self._number = 0  # of the connection: a receipt of an earlier one is worth nothing
        self._is_answered = False  # the broker has said yes or no to the newest connection
        self._socket_error: str | None = None
        self._thread: threading.Thread | None = None
        self._client = _Client(
            lambda: promise("mqtt", time.monotonic() + PROGRESS_S),
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if self._is_v5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if self._is_v5 else not config.session_expiry_s,
            manual_ack=True,  # a question is acknowledged when it is stored, not when it has arrived
        )
        self._client.will_set(will_topic, b"offline", qos=1, retain=True)
        self._client.connect_timeout = CONNECT_TIMEOUT_S
        self._client.max_inflight_messages = WINDOW
        if config.user:
            self._client.username_pw_set(config.user, password(config))
        if config.uses_tls:
            self._client.tls_set_context(tls_context(config))
        for name in ("socket_open", "connect", "connect_fail", "disconnect", "subscribe", "publish", "message", "log"):
            setattr(self._client, f"on_{name}", getattr(self, f"_on_{name}"))

    def start(self) -> None:
        """Begin to connect, and return at once."""
        host, port, keepalive_s = self._config.host, self._config.effective_port, self._config.keepalive_s
        if self._is_v5:
            limits = _properties(PacketTypes.CONNECT)
            limits.MaximumPacketSize = MAX_PACKET_BYTES
            limits.ReceiveMaximum = RECEIVE_WINDOW
            limits.SessionExpiryInterval = self._config.session_expiry_s
            clean_start = not self._config.session_expiry_s
            self._client.connect_async(host, port, keepalive_s, clean_start=clean_start, properties=limits)
        else:
            self._client.connect_async(host, port, keepalive_s)
        self._client.loop_start()
        for thread in threading.enumerate():
            if thread.name.startswith("paho-mqtt-client"):
                thread.name = "mqtt"
                self._thread = thread

    def revive(self) -> bool:
        """Begin again if paho's thread has died, of a malformed packet say; tell whether it had."""
        if self._thread is None or self._thread.is_alive():
            return False
        self.start()
        return True

    def subscribe(self, topics: tuple[str, ...]) -> None:
        """Listen to `topics`; a refusal comes as SubscriptionsRefused."""
        self._client.subscribe([(topic, int(self._config.qos)) for topic in topics])

    def publish(
        self, topic: str, payload: bytes, *, qos: int, retain: bool = False, correlation: bytes | None = None
    ) -> int:
        """Hand a message over and return the id that its Acknowledged will carry."""
        properties = None
        if self._is_v5:
            properties = _properties(PacketTypes.PUBLISH)
            if payload.startswith(b"{"):
                properties.ContentType = "application/json"
            if correlation is not None:
                properties.CorrelationData = correlation
        return self._client.publish(topic, payload, qos=qos, retain=retain, properties=properties).mid

    def acknowledge(self, receipt: Receipt) -> None:
        """Tell the broker that it may forget a message; one of an earlier connection it sends again anyway."""
        if receipt.connection == self._number:
            self._client.ack(receipt.mid, 1)

    def cut(self) -> None:
        """Break the connection as a pulled plug would; paho then connects anew, with the usual delay."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):  # it has just broken by itself
                # Not the method of ssl.SSLSocket, which would end the encryption first, and leave the thread without.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def stop(self, timeout_s: float) -> None:
        """Disconnect and wait for paho's thread, but not longer than `timeout_s`: it may hang in a name look-up."""
        self._is_stopping = True
        self._client.disconnect()
        if self._thread is not None:
            self._thread.join(timeout_s)

    # From here on: callbacks, run by paho's thread.

    @_guarded
    def _on_socket_open(self, _client: Client, _data: Any, sock: socket.socket) -> None:
        # Without it a small packet waits for the other side's delayed acknowledgement: 40 ms an answer, measured.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._is_answered, self._socket_error = False, None

    @_guarded
    def _on_log(self, _client: Client, _data: Any, level: LogLevel, text: str) -> None:
        # Only here paho tells why a socket failed: the alert, say, of a broker that wants a certificate.
        if level == LogLevel.MQTT_LOG_ERR:
            self._socket_error = text

    @_guarded
    def _on_connect(
        self, client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._is_answered = True
        if self._is_stopping:  # disconnect() came while paho was connecting, and was lost on it
            client.disconnect()
            return
        if reason.is_failure:
            self._post(Unreachable(f"the broker refused the connection: {reason}"))
            return
        # The outbox hands everything over anew: what paho still held would arrive twice, and out of order.
        client.drop_out_messages()
        self._connected_s = time.monotonic()
        self._number += 1
        unsaid_bytes = UNSAID_LIMIT_BYTES[self._config.protocol]
        self._post(Connected(packet_maximum_bytes=getattr(properties, "MaximumPacketSize", unsaid_bytes)))

    @_guarded
    def _on_connect_fail(self, client: Client, _data: Any) -> None:
        if self._is_stopping:
            client.disconnect()
            return
        error = sys.exception()  # paho calls this while it handles the exception, and does not pass it on
        self._delay_reconnect()
        self._post(Unreachable(f"{type(error).__name__}: {error}" if error else "unknown reason"))

    @_guarded
    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        taken_over = reason.value == SESSION_TAKEN_OVER
        if self._connected_s is not None and time.monotonic() - self._connected_s >= STEADY_S:
            self._backoff.reset()
            self._short_connections = 0
        elif self._connected_s is not None:
            self._short_connections += 1  # not every broker says that another took over
        self._connected_s = None
        self._delay_reconnect(longest=taken_over)
        if not self._is_answered:
            why = self._socket_error or str(reason)
            self._post(
                Unreachable(
                    f"the broker ended the connection before it answered ({why}); does it want TLS, or a certificate?"
                )
            )
            return
        self._post(Disconnected(str(reason), taken_over or self._short_connections >= SUSPICIOUS_CONNECTIONS))

    @_guarded
    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refusals = sorted({str(reason) for reason in reasons if reason.is_failure})
        if refusals:
            self._post(SubscriptionsRefused(", ".join(refusals)))

    @_guarded
    def _on_publish(
        self, client: Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        refusal = Refusal(str(reason), reason.value in FINAL_REFUSALS) if reason.is_failure else None
        self._post(Acknowledged(mid, refusal))
        _acknowledge_at_once(client)

    @_guarded
    def _on_message(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        size_bytes = len(message.payload)
        inbound = Inbound(
            topic=message.topic,
            payload=bytes(message.payload) if size_bytes <= MAX_PAYLOAD_BYTES else b"",
            size_bytes=size_bytes,
            retained=message.retain,
            response_topic=getattr(message.properties, "ResponseTopic", None),
            correlation=getattr(message.properties, "CorrelationData", None),
            repeated=message.dup,
            receipt=Receipt(self._number, message.mid) if message.qos else None,
        )
        if not self._offer(inbound, owed=message.qos > 0) and message.qos:
            # A broker of MQTT 3.1.1 that knows no window; without an acknowledgement it would send nothing any more.
            self.cut()
        _acknowledge_at_once(client)

    def _delay_reconnect(self, *, longest: bool = False) -> None:
        """Choose how long paho waits before its next attempt, and with what; its own back-off has no jitter."""
        self._client.restore_protocol()
        delay_s = self._backoff.next_s()
        if longest:
            delay_s = max(delay_s, 20.0)
        # paho says int, and only adds it to a time.
        self._client.reconnect_delay_set(min_delay=delay_s, max_delay=delay_s)  # type: ignore[arg-type]


def _acknowledge_at_once(client: Client) -> None:
    """Let the kernel acknowledge what has come, instead of up to 40 ms later.

    A broker that does not set TCP_NODELAY, such as mosquitto by default, holds the next small packet back until then:
    a question that comes right after the acknowledgement of a caption would wait. Linux forgets the option again.
    """
    sock = client.socket()
    if isinstance(sock, socket.socket):  # ssl.SSLSocket is one; it is None when the connection has just broken
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]
