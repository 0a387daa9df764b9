"""The broker, connected to as the service connects."""

from __future__ import annotations

import queue

from edge_app.checks import Check
from edge_app.errors import ConfigError
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.events import Connected, Event, Unreachable
from edge_app.mqtt.requests import Inbound
from edge_app.mqtt.topics import Topics
from edge_app.settings import Config

BROKER_TIMEOUT_S = 10.0

# A word of the reason -> the mend; the first that fits.
_MENDS = {
    "before it answered": "Set mqtt.tls = true if the broker speaks TLS on that port; if it asks for certificates, set "
    "mqtt.tls_client_cert and mqtt.tls_client_key, and check that the certificate has not expired.",
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
    """Connect to the broker as the service does: name, port, TLS, user and password."""
    mqtt = config.mqtt
    where = f"{mqtt.host}:{mqtt.effective_port}"
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    # Not the service's id, which would throw a running service out, and not its will.
    client_id = f"{mqtt.client_id or f'edge-app-{config.node.id}'}-doctor"
    will_topic = f"{Topics(mqtt.base, config.node.id).root}/doctor"
    try:
        connection = Connection(mqtt, client_id, will_topic, events.put, _take_nothing)
    except ConfigError as error:
        return Check("broker", "fail", str(error), "Correct the file it names.")
    connection.start()
    try:
        event = events.get(timeout=BROKER_TIMEOUT_S)
    except queue.Empty:
        event = Unreachable(f"no answer within {BROKER_TIMEOUT_S:g} s")
    finally:
        connection.stop(1.0)
    if isinstance(event, Connected):
        return Check("broker", "ok", f"{where} accepts MQTT {mqtt.protocol}{' over TLS' if mqtt.uses_tls else ''}")
    reason = event.reason if isinstance(event, Unreachable) else str(event)
    return Check("broker", "fail", f"{where}: {reason}", mend_for(reason))


def mend_for(reason: str) -> str:
    """What to do about a connection that failed for `reason`."""
    lower = reason.lower()
    return next((mend for word, mend in _MENDS.items() if word in lower), _OTHERWISE)


def _take_nothing(message: Inbound, *, owed: bool) -> bool:  # noqa: ARG001  # the signature of Offer
    """This client subscribes to nothing."""
    return True
