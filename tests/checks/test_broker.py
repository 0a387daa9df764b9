"""The broker check on real brokers: accepted, refused, without TLS; the mend fits the reason."""

from __future__ import annotations

import json
import queue
import subprocess
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge_app.checks.broker import check_broker, mend_for
from edge_app.demo.broker import running_broker
from edge_app.settings import Config
from tests.broker import Broker, needs_mosquitto


def config(port: int, **mqtt: object) -> Config:
    tables = {
        "mqtt": {"host": "127.0.0.1", "port": port, **mqtt},
        "model": {"bundles": ["nowhere"]},
        "camera": [{"name": "door", "source": "file:nothing.png"}],
    }
    return Config.model_validate_json(json.dumps(tables))


def test_broker_that_accepts_is_ok_and_left_as_it_was() -> None:
    """The doctor connects under a name of its own and leaves no message: a running service goes undisturbed."""
    heard: queue.SimpleQueue[MQTTMessage] = queue.SimpleQueue()
    with running_broker() as broker:
        client = Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, message: heard.put(message)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.subscribe("#", 1)
        assert check_broker(config(broker.port, protocol=broker.protocol)).status == "ok"
        client.publish("end", b"", qos=1)
        assert heard.get(timeout=10).topic == "end", "the doctor's last will or another message came first"
        client.disconnect()
        client.loop_stop()


def test_broker_that_is_not_there_fails_with_the_systems_words() -> None:
    """Nobody listens on port 1."""
    check = check_broker(config(1))
    assert check.status == "fail"
    assert "127.0.0.1:1" in check.what
    assert "refused" in check.what
    assert "start the broker" in check.mend


def test_broker_without_tls_fails_where_tls_is_asked_for() -> None:
    """The doctor speaks TLS exactly where the service would."""
    with running_broker() as broker:
        assert check_broker(config(broker.port, tls=True)).status == "fail"


@needs_mosquitto
@pytest.mark.parametrize(("password", "status"), [("right", "ok"), ("wrong", "fail")])
def test_wrong_password_is_told_as_such(tmp_path: Path, password: str, status: str) -> None:
    """A broker that is there and refuses is not a broker that is away."""
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "node", "right"], check=True)
    passwords.chmod(0o644)
    secret.write_text(f"{password}\n", encoding="utf-8")
    secret.chmod(0o600)
    broker = Broker(tmp_path, f"allow_anonymous false\npassword_file {passwords}")
    try:
        check = check_broker(config(broker.port, user="node", password_file=str(secret)))
    finally:
        broker.stop()
    assert check.status == status, check
    assert ("mqtt.password_file" in check.mend) == (status == "fail")


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("ConnectionRefusedError: [Errno 111] Connection refused", "listener"),
        ("the broker refused the connection: Not authorized", "password_file"),
        ("the broker refused the connection: Bad user name or password", "password_file"),
        ("gaierror: [Errno -2] Name or service not known", "name"),
        ("gaierror: [Errno -3] Temporary failure in name resolution", "name server"),
        ("SSLCertVerificationError: certificate verify failed", "tls_ca_certs"),
        ("SSLError: [SSL: WRONG_VERSION_NUMBER] wrong version number", "8883"),
        ("OSError: [Errno 101] Network is unreachable", "cable"),
        ("no answer within 10 s", "firewall"),
    ],
)
def test_mend_fits_the_reason(reason: str, word: str) -> None:
    """A refusal by the broker is not a refused connection."""
    assert word in mend_for(reason)
