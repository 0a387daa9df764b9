"""The sample broker of docs/mosquitto: the service works there, no board touches another, what is wrong is refused."""

from __future__ import annotations

import json
import queue
import re
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.reasoncodes import ReasonCode

from edge_app.checks.broker import check_broker
from edge_app.inbox import Inbox
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.events import Event, Unreachable
from edge_app.settings import Config, MqttConfig
from tests.broker import PATIENCE_S, Watcher, body, needs_mosquitto
from tests.service.harness import ROOT, Start, start
from tests.site import Site, SiteBroker, board, person

__all__ = ["start"]
pytestmark = needs_mosquitto
KITCHEN, WORKSHOP = "edge_app/kitchen", "edge_app/workshop"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Certificates and passwords, made by the commands of the page."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site_broker(site: Site, tmp_path: Path) -> Iterator[SiteBroker]:
    """The sample's broker, for one test."""
    running = SiteBroker(site, tmp_path / "site-broker")
    yield running
    running.stop()


def certificate_of(site: Site, name: str) -> dict[str, Any]:
    """The settings of a board that comes with a certificate."""
    return {
        "tls_ca_certs": site.folder / "ca.pem",
        "tls_client_cert": site.folder / f"{name}.pem",
        "tls_client_key": site.folder / f"{name}.key",
    }


def password_of(site: Site, name: str) -> dict[str, Any]:
    """The settings of a board that comes with a password."""
    return {"tls_ca_certs": site.folder / "ca.pem", "user": name, "password_file": site.password_file(name)}


@pytest.mark.parametrize("node", ["kitchen", "garden"])
def test_the_service_works_at_the_sample_broker(site: Site, site_broker: SiteBroker, start: Start, node: str) -> None:
    """With the page's own configuration all that docs/mqtt.md promises passes the access list, and nothing is refused.

    `kitchen` comes with a certificate, `garden` with a password.
    """
    root = f"edge_app/{node}"
    dashboard = person(site, site_broker, "dashboard", "edge_app/#")
    assistant = person(site, site_broker, "homeassistant", "edge_app/#", "homeassistant/#")
    asker = person(site, site_broker, "asker", "edge_app/#")
    environ = site.board_settings(node, site_broker)
    service = start(0, environ={**environ, "EDGE_APP_HOME_ASSISTANT__ENABLED": "true"})
    for watcher in (dashboard, assistant, asker):
        watcher.expect(lambda message: message.payload == b"online" and "camera" not in message.topic, "the birth")
    dashboard.expect(lambda message: message.topic == f"{root}/camera/door/caption", "a caption")
    own = f"{root}/reply/asker/1"
    asker.publish(f"{root}/ask", "what is it", response_topic=own, correlation=b"c1")
    assert body(asker.expect(lambda message: message.topic == own, "the reply"))["status"] == "ok"
    asker.publish(f"{root}/ask", '{"id": "q7", "question": "what is it"}')
    asker.expect(lambda message: message.topic == f"{root}/answer" and body(message)["id"] == "q7", "the answer")
    asker.publish(f"{root}/request/info", "")
    asker.expect(lambda message: message.topic == f"{root}/response/info", "the response")
    assistant.expect(lambda message: message.topic == f"homeassistant/device/{node}/config", "the announcement")
    assistant.publish(f"{root}/pause/set", "ON")
    assistant.expect(lambda message: (message.topic, message.payload) == (f"{root}/pause/state", b"ON"), "the setting")
    health = body(dashboard.expect(lambda message: message.topic == f"{root}/health", "health"))
    assert health["mqtt_problem"] is None
    assert "refuse" not in service.log
    assert not any("/reply/" in message.topic for watcher in (dashboard, assistant) for message in watcher.messages)
    assert service.stop()[0] == 0
    for watcher in (dashboard, assistant, asker):
        watcher.close()


@pytest.mark.parametrize("page", ["README.md", "docs/mqtt.md"])
def test_the_questions_of_the_docs_are_answered_at_the_sample_broker(
    site: Site, site_broker: SiteBroker, start: Start, page: str
) -> None:
    """As printed, but for `me`, the name of whoever asks, and for what says who that is and where the broker is."""
    text = (ROOT / page).read_text(encoding="utf-8")
    commands = re.findall(r"^mosquitto_rr (-t edge_app/kitchen/ask .*)$", text, re.M)
    assert len(commands) == {"README.md": 1, "docs/mqtt.md": 2}[page]
    dashboard = person(site, site_broker, "dashboard", "edge_app/#")
    start(0, environ=site.board_settings("kitchen", site_broker))
    dashboard.expect(lambda message: message.topic == f"{KITCHEN}/camera/door/caption", "a caption")
    dashboard.close()
    where = ["-h", "127.0.0.1", "-p", str(site_broker.password_port), "--cafile", str(site.folder / "ca.pem")]
    who = ["-u", "asker", "-P", site.password("asker")]
    for command in commands:
        arguments = shlex.split(command.replace("/me ", "/asker "))
        done = subprocess.run(
            ["mosquitto_rr", *where, *who, *arguments], capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
        assert json.loads(done.stdout)["status"] == "ok"


def test_the_sample_broker_warns_of_what_the_page_says(site: Site, site_broker: SiteBroker) -> None:
    """One pattern is the same for all boards, which mosquitto takes for a mistake; it has nothing else to say."""
    log = (site_broker.folder / "mosquitto.log").read_text(encoding="utf-8")
    warnings = [line for line in log.splitlines() if "Warning: " in line and "run as root" not in line]
    assert len(warnings) == 1, log
    assert "ACL pattern 'homeassistant/status' does not contain '%c' or '%u'" in warnings[0]
    for file in ("README.md", "acl"):
        assert "neither %c nor %u" in (ROOT / "docs/mosquitto" / file).read_text(encoding="utf-8")


def test_a_board_announces_itself_to_home_assistant_and_nobody_else(site: Site, site_broker: SiteBroker) -> None:
    """A board writes its own discovery topic and hears when Home Assistant is born."""
    assistant = person(site, site_broker, "homeassistant", "homeassistant/#")
    kitchen = board(site, site_broker, "kitchen", "homeassistant/status", "homeassistant/device/#")
    assert not refused(kitchen, "homeassistant/device/kitchen/config")
    assert refused(kitchen, "homeassistant/device/workshop/config")
    assert refused(kitchen, "homeassistant/status")
    assistant.expect(lambda message: message.topic == "homeassistant/device/kitchen/config", "the announcement")
    assistant.publish("homeassistant/status", "online")
    kitchen.expect(lambda message: message.topic == "homeassistant/status", "the birth of Home Assistant")
    assert [message.topic for message in kitchen.messages] == ["homeassistant/status"]
    assert {message.topic for message in assistant.messages} == {
        "homeassistant/device/kitchen/config",
        "homeassistant/status",
    }
    kitchen.close()
    assistant.close()


BOARD_TOPICS = ("availability", "info", "ask", "answer", "event", "pause/set", "pause/state", "request/info")


def test_a_board_can_neither_write_nor_read_the_topics_of_another(site: Site, site_broker: SiteBroker) -> None:
    """One that is broken into speaks for itself alone: nothing reaches the other, nothing of the other reaches it."""
    kitchen = board(site, site_broker, "kitchen", "#", f"{WORKSHOP}/#", "edge_app/+/ask", "edge_app/+/reply/#")
    workshop = board(site, site_broker, "workshop", "#")
    dashboard = person(site, site_broker, "dashboard", "edge_app/#")
    asker = person(site, site_broker, "asker", "edge_app/#")
    for topic in (*BOARD_TOPICS, "camera/door/caption", "reply/asker/1"):
        assert refused(kitchen, f"{WORKSHOP}/{topic}"), topic
        assert not refused(workshop, f"{WORKSHOP}/{topic}", b"own"), topic
    asker.publish(f"{WORKSHOP}/ask", "a question for the workshop")
    asker.publish(f"{KITCHEN}/ask", "a question for the kitchen")
    kitchen.expect(lambda message: message.topic == f"{KITCHEN}/ask", "its own question")
    assert {message.topic for message in kitchen.messages} == {f"{KITCHEN}/ask"}
    workshop.expect(lambda message: b"workshop" in message.payload, "the workshop's question")
    asker.expect(lambda message: message.topic == f"{WORKSHOP}/reply/asker/1", "the reply")
    dashboard.expect(lambda message: message.topic == f"{WORKSHOP}/event", "the event")
    for watcher in (kitchen, workshop, dashboard, asker):
        assert not any(message.payload == b"forged" for message in watcher.messages)
        watcher.close()


def test_each_role_writes_no_more_than_it_should(site: Site, site_broker: SiteBroker) -> None:
    """A dashboard says nothing, an asker changes nothing, and Home Assistant is no board."""
    allowed: dict[str, set[str]] = {
        "dashboard": set(),
        "asker": {"ask", "request/info"},
        "homeassistant": {"ask", "request/info", "pause/set"},
    }
    for user, topics in allowed.items():
        client = person(site, site_broker, user, "edge_app/#")
        assert {topic for topic in BOARD_TOPICS if not refused(client, f"{KITCHEN}/{topic}")} == topics, user
        client.close()


def refused(watcher: Watcher, topic: str, payload: bytes = b"forged") -> bool:
    """Publish, and tell whether the broker's acknowledgement was a refusal."""
    reasons: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()

    def on_publish(_client: Client, _data: object, _mid: int, reason: ReasonCode, _properties: object) -> None:
        reasons.put(reason)

    watcher.client.on_publish = on_publish
    watcher.client.publish(topic, payload, qos=1)
    return bool(reasons.get(timeout=PATIENCE_S).is_failure)


def settings_with(fault: str, site: Site, broker: SiteBroker, folder: Path) -> dict[str, Any]:
    """What a configuration says that has this fault and no other."""
    certificate, password = certificate_of(site, "kitchen"), password_of(site, "garden")
    with_certificate = {"host": "127.0.0.1", "port": broker.port, **certificate}
    with_password = {"host": "127.0.0.1", "port": broker.password_port, **password}
    wrong = folder / "wrong-password"
    wrong.write_text("not the password\n", encoding="ascii")
    wrong.chmod(0o600)
    ca = site.folder / "ca.pem"
    return {
        "unknown CA": {"host": "127.0.0.1", "port": broker.port, "tls": True},
        "another host name": {**with_certificate, "host": "localhost"},
        "no such host": {**with_certificate, "host": "broker.invalid"},
        "wrong password": {**with_password, "password_file": wrong},
        "no password": {"host": "127.0.0.1", "port": broker.password_port, "tls_ca_certs": ca},
        "no certificate": {"host": "127.0.0.1", "port": broker.port, "tls_ca_certs": ca},
        "no TLS": {"host": "127.0.0.1", "port": broker.port},
    }[fault]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("unknown CA", ("CERTIFICATE_VERIFY_FAILED", "mqtt.tls_ca_certs")),
        ("another host name", ("certificate is not valid for 'localhost'", "mqtt.host")),
        ("no such host", ("Name or service not known", "mqtt.host")),
        ("wrong password", ("Not authorized", "mqtt.password_file")),
        ("no password", ("Not authorized", "mqtt.password_file")),
        ("no certificate", ("certificate required", "mqtt.tls_client_cert")),
        ("no TLS", ("ended the connection before it answered", "mqtt.tls = true")),
    ],
)
def test_a_refusal_is_told_and_tried_again_later(
    site: Site, site_broker: SiteBroker, tmp_path: Path, fault: str, told: tuple[str, str]
) -> None:
    """Each attempt says why it failed, the next one comes after a pause, and the doctor says the same."""
    words, mend = told
    mqtt = MqttConfig.model_validate(settings_with(fault, site, site_broker, tmp_path))
    first, second, pause_s = two_attempts(mqtt)
    assert words in first
    assert second == first
    assert pause_s > 0.7  # the first pause is 1 s, give or take a fifth
    found = diagnosis(mqtt)
    assert words in found
    assert mend in found


def test_an_expired_certificate_is_refused(site: Site, tmp_path: Path) -> None:
    """A broker whose certificate ended yesterday is a stranger, although the site's CA has signed it."""
    site.expire("expired")
    broker = SiteBroker(site, tmp_path / "expired", certificate="expired")
    try:
        mqtt = MqttConfig.model_validate({"host": "127.0.0.1", "port": broker.port, **certificate_of(site, "kitchen")})
        found = diagnosis(mqtt)
        assert "certificate has expired" in found
        assert "Renew" in found
    finally:
        broker.stop()


def test_a_revoked_board_is_refused(tmp_path: Path) -> None:
    """What the page says to do when a board is lost: that board does not come in again, the others do."""
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site")
    site.revoke()
    broker = SiteBroker(site, tmp_path / "broker")
    try:
        told = {
            "workshop": ("certificate revoked", "new certificate"),
            "kitchen": ("MQTT 5 over TLS, and our messages",),
        }
        for name, words in told.items():
            here = {"host": "127.0.0.1", "port": broker.port}
            found = diagnosis(MqttConfig.model_validate({**here, **certificate_of(site, name)}), name)
            assert all(word in found for word in words), found
    finally:
        broker.stop()


@pytest.mark.parametrize(("protocol", "words"), [("5", "refuses a message"), ("3.1.1", "does not tell")])
def test_a_node_with_the_certificate_of_another_is_told(
    site: Site, site_broker: SiteBroker, protocol: str, words: str
) -> None:
    """The access list refuses all that it says; where MQTT 3.1.1 hides that, the two names are compared."""
    here = {"host": "127.0.0.1", "port": site_broker.port, "protocol": protocol}
    found = diagnosis(MqttConfig.model_validate({**here, **certificate_of(site, "kitchen")}), "kitchen2")
    assert words in found
    assert "node.id ('kitchen2') and the certificate's common name ('kitchen')" in found


def test_nothing_is_ever_sent_in_plain_text(site: Site, tmp_path: Path) -> None:
    """A server that does not speak TLS gets the beginning of a TLS handshake and not one byte of MQTT, each time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        received: list[bytes] = []

        def serve() -> None:
            for _ in range(2):
                connection, _address = server.accept()
                with connection:
                    received.append(connection.recv(4096))

        thread = threading.Thread(target=serve, name="plain server")
        thread.start()
        where = {"host": "127.0.0.1", "port": server.getsockname()[1]}
        two_attempts(MqttConfig.model_validate({**where, **password_of(site, "garden")}))
        thread.join()
    for sent in received:
        assert sent.startswith(b"\x16\x03")  # a handshake record of TLS (RFC 8446, 5.1)
        assert b"garden" not in sent
        assert site.password("garden").encode() not in sent


def two_attempts(mqtt: MqttConfig) -> tuple[str, str, float]:
    """Why the first two attempts to connect failed, and the seconds between them."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    connection = Connection(mqtt, "edge-app-test", "edge_app/test/availability", events.put, Inbox().offer)
    connection.start()
    attempts: list[tuple[str, float]] = []
    try:
        while len(attempts) < 2:
            event = events.get(timeout=PATIENCE_S)
            if isinstance(
                event, Unreachable
            ):  # a refusal is followed by the end of its connection, which is no attempt
                attempts.append((event.reason, time.monotonic()))
    finally:
        connection.stop(PATIENCE_S)
    (first, first_s), (second, second_s) = attempts
    return first, second, second_s - first_s


def diagnosis(mqtt: MqttConfig, node: str = "kitchen") -> str:
    """What `edge-app doctor` finds of the broker, and the mend."""
    tables = {"node": {"id": node}, "model": {"bundles": ["none"]}, "camera": [{"name": "door", "source": "scene:"}]}
    config = Config.model_validate_json(json.dumps({**tables, "mqtt": mqtt.model_dump(mode="json")}))
    check = check_broker(config)
    return f"{check.what} {check.mend}"
