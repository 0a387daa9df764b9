"""Who gets a connection: password, certificate, host name and client id; a failed attempt has a reason that is told."""

from __future__ import annotations

import logging
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edge_app.errors import ConfigError
from edge_app.inbox import Inbox
from edge_app.mqtt.connection import Connection
from edge_app.settings import MqttConfig
from tests.broker import Broker, broker, make_broker, needs_mosquitto
from tests.mqtt.node import PROTOCOLS, MakeBroker, MakeNode, Node, make_node

__all__ = ["broker", "make_broker", "make_node"]
pytestmark = needs_mosquitto


@PROTOCOLS
def test_a_refused_connection_is_not_a_connection_and_told_once(
    tmp_path: Path, make_broker: MakeBroker, make_node: MakeNode, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad password gives a CONNACK, too: it must not count as connected, and not fill the log."""
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", passwords, "node", "right"], check=True, capture_output=True)
    passwords.chmod(0o600)
    broker = make_broker(f"allow_anonymous false\npassword_file {passwords}")
    secret = tmp_path / "secret"
    secret.write_text("wrong\n", encoding="utf-8")
    attempts: list[object] = []
    with caplog.at_level(logging.WARNING):
        node = make_node(broker.port, protocol=protocol, user="node", password_file=secret)
        original = node.session.handle

        def counted(event: Any) -> None:
            attempts.append(event)
            original(event)

        node.session.handle = counted  # type: ignore[method-assign]
        node.until(lambda: len(attempts) >= 4, "a second attempt")  # each: refused, then disconnected
    assert not node.session.connected
    assert node.session.problem is not None and "refused" in node.session.problem
    assert sum("mqtt problem" in record.message for record in caplog.records) == 1
    node.session.stop(5)
    secret.write_text("right\n", encoding="utf-8")
    again = make_node(broker.port, protocol=protocol, user="node", password_file=secret)
    again.until(lambda: again.session.connected, "the connection with the right password")
    again.session.stop(5)


def test_the_reason_of_a_failed_attempt_is_known(make_node: MakeNode) -> None:
    """paho keeps it to itself; a person needs it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    node = make_node(port)
    node.until(lambda: node.session.problem and "ConnectionRefused" in node.session.problem, "the reason")
    unknown = make_node(port, host="no-such-host.invalid")
    unknown.until(lambda: unknown.session.problem and "gaierror" in unknown.session.problem, "the reason")


def test_certificate_and_host_name_are_checked(tmp_path: Path, make_broker: MakeBroker, make_node: MakeNode) -> None:
    """TLS that accepts any certificate is no TLS: only the right CA and the right name connect."""
    certify(tmp_path, "good", "subjectAltName=IP:127.0.0.1")
    certify(tmp_path, "other", "subjectAltName=DNS:elsewhere.example")
    for name in ("good", "other"):
        broker = make_broker(f"allow_anonymous true\ncertfile {tmp_path}/{name}.pem\nkeyfile {tmp_path}/{name}.key")
        trusted = make_node(broker.port, tls_ca_certs=tmp_path / f"{name}.pem")
        if name == "good":
            trusted.until(lambda: trusted.session.connected, "the TLS connection")  # noqa: B023
        else:
            trusted.until(lambda: "CERTIFICATE_VERIFY" in (trusted.session.problem or ""), "the refusal")  # noqa: B023
        stranger = make_node(broker.port, tls=True)
        stranger.until(lambda: "CERTIFICATE_VERIFY" in (stranger.session.problem or ""), "the refusal")  # noqa: B023
        trusted.session.stop(5)
        stranger.session.stop(5)


def certify(folder: Path, name: str, extension: str) -> None:
    """A self-signed certificate for one day."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "1", "-subj", f"/CN={name}", "-addext", extension]
    command += ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
    subprocess.run(command, check=True, capture_output=True)


def test_files_that_cannot_be_used_are_configuration_errors(tmp_path: Path) -> None:
    """Told at the start with the key, not as a connection that never comes."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate", encoding="utf-8")
    certify(tmp_path, "good", "subjectAltName=IP:127.0.0.1")
    for key, config in {
        "mqtt.tls_ca_certs": {"tls_ca_certs": broken},
        "mqtt.tls_client_cert": {"tls": True, "tls_client_cert": broken, "tls_client_key": broken},
        "mqtt.password_file": {"user": "node", "password_file": tmp_path / "missing"},
    }.items():
        with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
            Connection(MqttConfig.model_validate(config), "id", "t", lambda _: None, Inbox().offer)


def test_two_clients_of_one_id_do_not_fight(broker: Broker, make_node: MakeNode) -> None:
    """Each connect throws the other out; both notice, say so, and back off."""
    nodes = first, second = make_node(broker.port), make_node(broker.port)
    told: set[Node] = set()

    def both_told() -> bool:
        second.turn(0.02)
        told.update(node for node in nodes if "client id" in (node.session.problem or ""))
        return len(told) == 2

    first.until(both_told, "both to say that the client id is used twice")
    connects = (broker.folder / "mosquitto.log").read_text(encoding="utf-8").count("New client connected")
    assert 4 <= connects <= 10
