"""The broker, connected to as the service connects, and given one message as the service gives it many.

The message is an empty one of QoS 1 that nobody keeps (not retained), on a topic where nothing else ever comes: below
the node's `reply/`, where the service answers whoever names such a topic, and which in the broker's sample rules only a
user of that name could read. So no client takes it for anything, and one that watches everything sees an empty message.
"""

from __future__ import annotations

import queue

from cryptography import x509
from cryptography.x509.oid import NameOID

from edge_app.checks import Check
from edge_app.errors import ConfigError
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.events import Acknowledged, Connected, Disconnected, Event, Unreachable
from edge_app.mqtt.requests import Inbound
from edge_app.mqtt.topics import Topics
from edge_app.settings import Config, MqttConfig

BROKER_TIMEOUT_S = 10.0

_RENEW = (
    "Make a new certificate for this board, and put it and its key in place of the old ones (docs/mosquitto/README.md)."
)
# A word of the reason -> the mend; the first that fits.
_MENDS = {
    "certificate revoked": _RENEW,  # the alert of a broker that refuses ours
    "certificate expired": _RENEW,
    "before it answered": "Set mqtt.tls = true if the broker speaks TLS on that port; if it asks for certificates, set "
    "mqtt.tls_client_cert and mqtt.tls_client_key.",
    "has expired": "Renew the broker's certificate, or set the clock of this board.",
    "certificate": "Check mqtt.tls_ca_certs, that mqtt.host is the name in the broker's certificate, and the clock.",
    "ssl": "Check that the broker speaks TLS on mqtt.port (8883 by custom), or set mqtt.tls = false.",
    "not authorized": "Check mqtt.user and mqtt.password_file against the broker's list, and its access rules.",
    "bad user name": "Check mqtt.user and mqtt.password_file against the broker's list.",
    "name or service": "The name mqtt.host is unknown: correct it, or write the address; check the name server.",
    "name resolution": "The name server does not answer: write the broker's address in mqtt.host.",
    "refused": "Nothing listens there: start the broker (mosquitto listens on its own machine only until its "
    "configuration has a `listener`), and check mqtt.host and mqtt.port.",
    "unreachable": "There is no route to it: check the network cable and the address (`ip address`).",
}
_OTHERWISE = "Check mqtt.host and mqtt.port, and whether a firewall lies between."


def check_broker(config: Config) -> Check:
    """Connect to the broker as the service does (name, port, TLS, certificate, user, password), and publish."""
    # Not the service's id, which would throw a running service out, and not its will; nor a session that stays.
    mqtt, topics = config.mqtt.model_copy(update={"session_expiry_s": 0}), Topics(config.mqtt.base, config.node.id)
    where = f"{mqtt.host}:{mqtt.effective_port}"
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    client_id = f"{mqtt.client_id or f'edge-app-{config.node.id}'}-doctor"
    try:
        connection = Connection(mqtt, client_id, f"{topics.root}/doctor", events.put, _take_nothing)
    except ConfigError as error:
        return Check("broker", "fail", str(error), "Correct the file it names.")
    connection.start()
    try:
        event = _next(events)
        if isinstance(event, Connected):
            return _check_publishing(config, where, connection, events)
    finally:
        connection.stop(1.0)
    return Check("broker", "fail", f"{where}: {_words(event)}", mend_for(_words(event)))


def _check_publishing(config: Config, where: str, connection: Connection, events: queue.SimpleQueue[Event]) -> Check:
    """Whether the broker takes a message from a client that it has accepted."""
    mqtt, topic = config.mqtt, f"{Topics(config.mqtt.base, config.node.id).root}/reply/doctor"
    accepts = f"{where} accepts MQTT {mqtt.protocol}{' over TLS' if mqtt.uses_tls else ''}"
    connection.publish(topic, b"", qos=1)
    event = _next(events)
    if not isinstance(event, Acknowledged):
        return Check("broker", "fail", f"{accepts}, and after a message on {topic!r}: {_words(event)}", _rules(config))
    if event.refusal:
        what = f"{accepts}, and refuses a message on {topic!r}: {event.refusal.reason}"
        return Check("broker", "fail", what, _rules(config))
    if mqtt.protocol == "5":
        return Check("broker", "ok", f"{accepts}, and our messages")
    untold = f"{accepts}; whether it passes our messages on it does not tell, which MQTT 3.1.1 has no way to"
    common_name = common_name_of(mqtt)
    if common_name not in (None, config.node.id):
        return Check("broker", "warn", f"{untold}.", _rules(config))
    return Check("broker", "ok", untold)


def _rules(config: Config) -> str:
    """The mend where a broker accepts a client and not its messages."""
    node, root = config.node.id, Topics(config.mqtt.base, config.node.id).root
    mend = f"Let the broker's access rules allow this board to write {root}/#."
    common_name = common_name_of(config.mqtt)
    who, name = ("the certificate's common name", common_name) if common_name else ("mqtt.user", config.mqtt.user)
    if name in (None, node):
        return mend
    return f"Make node.id ({node!r}) and {who} ({name!r}) the same, which docs/mosquitto asks for. Else: {mend}"


def common_name_of(mqtt: MqttConfig) -> str | None:
    """The common name in our certificate, as which a broker may know us; None without either."""
    if mqtt.tls_client_cert is None:
        return None
    try:
        subject = x509.load_pem_x509_certificate(mqtt.tls_client_cert.read_bytes()).subject
    except (OSError, ValueError):  # the connection has used it: it is of a form that OpenSSL alone knows
        return None
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else None


def _next(events: queue.SimpleQueue[Event]) -> Event:
    try:
        return events.get(timeout=BROKER_TIMEOUT_S)
    except queue.Empty:
        return Unreachable(f"no answer within {BROKER_TIMEOUT_S:g} s")


def _words(event: Event) -> str:
    return event.reason if isinstance(event, (Unreachable, Disconnected)) else str(event)


def mend_for(reason: str) -> str:
    """What to do about a connection that failed for `reason`."""
    lower = reason.lower()
    return next((mend for word, mend in _MENDS.items() if word in lower), _OTHERWISE)


def _take_nothing(message: Inbound, *, owed: bool) -> bool:  # noqa: ARG001  # the signature of Offer
    """This client subscribes to nothing."""
    return True
