"""The broker check on real brokers: accepted, refused, without TLS; the mend fits the reason."""

from __future__ import annotations

import json
import queue
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge_app.checks.broker import check_broker, mend_for
from edge_app.demo.broker import running_broker
from edge_app.settings import Config
from tests.broker import Broker, broker, make_broker, needs_mosquitto

__all__ = ["broker", "make_broker"]


def config(port: int, node: str = "kitchen", **mqtt: object) -> Config:
    tables = {
        "node": {"id": node},
        "mqtt": {"host": "127.0.0.1", "port": port, **mqtt},
        "model": {"bundles": ["nowhere"]},
        "camera": [{"name": "door", "source": "file:nothing.png"}],
    }
    return Config.model_validate_json(json.dumps(tables))


def test_broker_that_accepts_is_ok_and_hears_one_empty_message() -> None:
    """The doctor has a name of its own, leaves nothing behind, and says nothing where anybody listens for something."""
    heard: queue.SimpleQueue[MQTTMessage] = queue.SimpleQueue()
    with running_broker() as broker:
        client = Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, message: heard.put(message)
        subscribed: queue.SimpleQueue[int] = queue.SimpleQueue()
        client.on_subscribe = lambda _client, _data, number, _codes, _properties: subscribed.put(number)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.subscribe("#", 1)
        subscribed.get(timeout=10)  # else the doctor may publish first
        checked = config(broker.port, protocol=broker.protocol)
        assert check_broker(checked).status == "ok"
        client.publish("end", b"", qos=1)
        told = heard.get(timeout=10)
        assert (told.topic, told.payload) == (f"edge_app/{checked.node.id}/reply/doctor", b"")
        assert heard.get(timeout=10).topic == "end", "the doctor's last will or another message came first"
        client.subscribe("edge_app/#", 1)
        client.publish("end", b"", qos=1)
        assert heard.get(timeout=10).topic == "end", "the doctor left a retained message"
        client.disconnect()
        client.loop_stop()


@needs_mosquitto
def test_no_session_stays_at_the_broker(broker: Broker) -> None:
    """MQTT 3.1.1 knows only sessions that are never kept, or for ever."""
    checked = config(broker.port, protocol="3.1.1")
    assert check_broker(checked).status == "ok"
    present: queue.SimpleQueue[bool] = queue.SimpleQueue()
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"edge-app-{checked.node.id}-doctor", clean_session=False)
    client.on_connect = lambda _client, _data, flags, _reason, _properties: present.put(flags.session_present)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    assert present.get(timeout=10) is False
    client.disconnect()
    client.loop_stop()


@needs_mosquitto
@pytest.mark.parametrize(
    ("protocol", "node", "told"),
    [
        ("5", "kitchen", ("ok", "and our messages")),
        ("5", "kitchen2", ("fail", "refuses a message on 'edge_app/kitchen2/reply/doctor': Not authorized")),
        ("3.1.1", "kitchen", ("ok", "whether it passes our messages on it does not tell")),
        ("3.1.1", "kitchen2", ("ok", "whether it passes our messages on it does not tell")),
    ],
)
def test_broker_that_refuses_messages_is_told_where_it_says_so(
    make_broker: Callable[..., Broker], tmp_path: Path, protocol: str, node: str, told: tuple[str, str]
) -> None:
    """It accepts the client and refuses each message by its rules; in MQTT 3.1.1 it can only be silent."""
    rules = tmp_path / "acl"
    rules.write_text("topic write edge_app/kitchen/#\n", encoding="ascii")
    rules.chmod(0o644)
    running = make_broker(f"allow_anonymous true\nacl_file {rules}")
    check = check_broker(config(running.port, node, protocol=protocol))
    status, words = told
    assert check.status == status
    assert words in check.what
    assert ("allow this board to write edge_app/kitchen2/#" in check.mend) == (status == "fail")


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
        (
            "the broker ended the connection before it answered ([SSL] sslv3 alert certificate revoked)",
            "new certificate",
        ),
        (
            "the broker ended the connection before it answered ([SSL] sslv3 alert certificate expired)",
            "new certificate",
        ),
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
