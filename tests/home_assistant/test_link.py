"""The announcement at a real broker: it appears, comes again, changes and goes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from edge_app.mqtt import home_assistant
from edge_app.mqtt.home_assistant_link import FILE_NAME, GONE_KEPT, JITTER_S, HomeAssistant
from edge_app.mqtt.requests import Inbound
from edge_app.mqtt.topics import Topics
from edge_app.rules.rule import MAX_RULES
from edge_app.settings import Config
from tests.broker import Broker, Watcher, body, broker, make_broker, needs_mosquitto, wait_until
from tests.home_assistant.test_components import Question
from tests.mqtt.node import MakeBroker, MakeNode, Node, make_node
from tests.service.harness import ANSWER, NODE, Start, answer_to, ask, camera_online, start

__all__ = ["broker", "make_broker", "make_node", "start"]
pytestmark = needs_mosquitto
TOPIC = "homeassistant/device/kitchen/config"
TOPICS = Topics("edge_app", "kitchen", "homeassistant/status")
OPEN, DARK = Question("door_open", "Is the door open?"), Question("dark", "Is it dark?")
ON: dict[str, Any] = {"enabled": True}
OFF: dict[str, Any] = {}


def link(
    node: Node, folder: Path, settings: dict[str, Any] = ON, *, camera: str = "door", **delay_s: Any
) -> HomeAssistant:
    """The announcement of a run of the service, whose `[home_assistant]` is `settings`."""
    config = Config.model_validate(
        {
            "model": {"bundles": (folder,)},
            "camera": ({"name": camera, "source": "scene:"},),
            "home_assistant": settings,
        }
    )
    return HomeAssistant(config, TOPICS, node.session, folder, **delay_s)


def birth(payload: bytes = b"online", *, retained: bool = False) -> Inbound:
    """What Home Assistant says when it has started."""
    return Inbound("homeassistant/status", payload, len(payload), retained)


def retained(port: int, topic: str = TOPIC) -> bytes | None:
    """What a client that comes now is given; None for nothing."""
    late = Watcher(port, topic, "marker")
    late.publish("marker", "")
    late.expect(lambda message: message.topic == "marker", "the marker behind what is retained")
    found = [message.payload for message in late.messages if message.topic == topic]
    late.close()
    return bytes(found[0]) if found else None


def told(port: int) -> dict[str, Any]:
    """The components that a client that comes now is told of."""
    payload = retained(port)
    assert payload is not None
    components: dict[str, Any] = json.loads(payload)["components"]
    return components


def test_a_client_that_comes_later_is_told_of_the_device(broker: Broker, make_node: MakeNode, tmp_path: Path) -> None:
    """Retained, with who it is, who says so, and where it says that it is there."""
    node = make_node(broker.port)
    link(node, tmp_path).announce([OPEN])
    node.until_settled()
    payload = json.loads(retained(broker.port) or b"")
    assert payload["device"]["identifiers"] == ["edge_app_kitchen"]
    assert payload["device"]["name"] == "kitchen"
    assert payload["origin"]["name"] == "edge-app"
    assert payload["availability"] == [{"topic": "edge_app/kitchen/availability"}]
    assert payload["components"]["rule.door_open.state"]["unique_id"] == "edge_app_kitchen.rule.door_open.state"


def test_nothing_is_told_unless_it_is_enabled(broker: Broker, make_node: MakeNode, tmp_path: Path) -> None:
    """Not even an empty message, which needs a right of its own at a careful broker."""
    watcher = Watcher(broker.port, "homeassistant/#")
    node = make_node(broker.port)
    link(node, tmp_path, OFF).announce()
    node.until_settled()
    watcher.publish("homeassistant/marker", "")
    watcher.expect(lambda message: message.topic == "homeassistant/marker", "the marker")
    assert len(watcher.messages) == 1
    assert not (tmp_path / FILE_NAME).exists()
    watcher.close()


def test_a_component_that_has_gone_is_sent_with_its_platform_only(
    broker: Broker, make_node: MakeNode, tmp_path: Path
) -> None:
    """That is how Home Assistant removes one: within a run, in the next one, and no more once it has come back."""
    node = make_node(broker.port)
    first = link(node, tmp_path)
    first.announce([OPEN, DARK])
    first.announce([DARK])
    node.until_settled()
    assert told(broker.port)["rule.door_open.state"] == {"platform": "binary_sensor"}
    second = link(node, tmp_path, camera="yard")
    second.announce([DARK])
    node.until_settled()
    components = told(broker.port)
    assert components["camera.door.ask"] == {"platform": "text"}
    assert components["rule.door_open.state"] == {"platform": "binary_sensor"}
    assert components["rule.dark.state"]["name"] == "Is it dark?"
    second.announce([DARK, OPEN])
    node.until_settled()
    assert told(broker.port)["rule.door_open.state"]["name"] == "Is the door open?"


def test_what_has_gone_long_ago_is_forgotten(broker: Broker, make_node: MakeNode, tmp_path: Path) -> None:
    """Rules that come and go for years do not make the message grow without end."""
    node = make_node(broker.port)
    assistant = link(node, tmp_path)
    assistant.announce([Question(f"r{number}", "?") for number in range(GONE_KEPT + 5)])
    for _ in range(2):
        assistant.announce([Question("last", "?")])
    node.until_settled()
    gone = [key for key, component in told(broker.port).items() if component.keys() == {"platform"}]
    assert gone == [f"rule.r{number}.state" for number in range(5, GONE_KEPT + 5)]


def test_a_node_that_is_told_to_be_silent_takes_its_device_back_once(
    broker: Broker, make_node: MakeNode, tmp_path: Path
) -> None:
    """Disabled after it was enabled: an empty retained message removes the device; then there is nothing to do."""
    node = make_node(broker.port)
    link(node, tmp_path).announce()
    node.until_settled()
    assert retained(broker.port)
    watcher = Watcher(broker.port, TOPIC)
    silent = link(node, tmp_path, OFF)
    silent.announce()
    watcher.expect(lambda message: message.payload == b"", "the removal")
    node.until(lambda: silent.check(time.monotonic()) or not (tmp_path / FILE_NAME).exists(), "the end of it")
    assert retained(broker.port) is None
    link(node, tmp_path, OFF)
    node.until_settled()
    assert watcher.messages[-1].payload == b"" and watcher.count(TOPIC) == 2  # what was retained, and the removal
    watcher.close()


def test_the_removal_waits_for_the_broker(
    broker: Broker, make_node: MakeNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that ends before the broker has come leaves the removal to the next one, and does not log it as done."""
    caplog.set_level("INFO")
    node = make_node(broker.port)
    link(node, tmp_path).announce()
    node.until_settled()
    broker.stop()
    node.until(lambda: not node.session.connected, "the end of the connection")
    silent = link(node, tmp_path, OFF)
    silent.check(time.monotonic())
    assert (tmp_path / FILE_NAME).exists()
    assert "withdrawn" not in caplog.text


def test_an_announcement_elsewhere_takes_the_old_one_back(
    broker: Broker, make_node: MakeNode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another prefix: Home Assistant must not be left with two devices of one name."""
    caplog.set_level("INFO")
    node = make_node(broker.port)
    link(node, tmp_path).announce()
    node.until_settled()
    elsewhere = link(node, tmp_path, {**ON, "discovery_prefix": "ha/discovery"})
    elsewhere.announce()
    node.until_settled()
    assert "withdrawn" not in caplog.text
    for _ in range(2):
        elsewhere.check(time.monotonic())
    assert caplog.text.count(f"home assistant announcement withdrawn topic={TOPIC}") == 1
    assert (tmp_path / FILE_NAME).exists()  # for the next run: what is told now
    assert retained(broker.port) is None
    assert retained(broker.port, "ha/discovery/device/kitchen/config")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"topic": 5}', b'{"topic": "a/b/#/d"}', b"\xff\xfe"])
def test_a_record_that_cannot_be_read_stops_nothing(
    broker: Broker, make_node: MakeNode, tmp_path: Path, content: bytes
) -> None:
    """It costs the removal of what has gone since, no more."""
    (tmp_path / FILE_NAME).write_bytes(content)
    node = make_node(broker.port)
    link(node, tmp_path).announce()
    node.until_settled()
    assert "camera.door.caption" in told(broker.port)


def test_a_folder_that_takes_nothing_stops_nothing(broker: Broker, make_node: MakeNode, tmp_path: Path) -> None:
    """A file where the folder should be: the announcement is made all the same."""
    (tmp_path / "file").touch()
    node = make_node(broker.port)
    link(node, tmp_path / "file").announce()
    node.until_settled()
    assert retained(broker.port)


def test_a_birth_is_answered_once_and_not_at_once(broker: Broker, make_node: MakeNode, tmp_path: Path) -> None:
    """Two births within the delay are one; what is retained or no birth is none; the delay is not the same twice."""
    node = make_node(broker.port)
    assistant = link(node, tmp_path, delay_s=lambda: 3.0)
    assistant.announce()
    assert not assistant.takes(Inbound("edge_app/kitchen/ask", b"online", 6, retained=False), 100.0)
    assert assistant.takes(birth(b"online", retained=True), 100.0)
    assert assistant.takes(birth(b"offline"), 100.0)
    assert not assistant.check(1000.0)
    assistant.takes(birth(), 1000.0)
    assistant.takes(birth(), 1002.9)
    assert [assistant.check(now_s) for now_s in (1002.9, 1003.0, 1003.1, 2000.0)] == [False, True, False, False]
    jittering = link(node, tmp_path)
    delays_s = {jittering._delay_s() for _ in range(20)}
    assert len(delays_s) == 20 and all(0 <= delay_s <= JITTER_S for delay_s in delays_s)


def test_the_service_announces_itself_and_says_it_again_when_home_assistant_starts(
    broker: Broker, start: Start
) -> None:
    """From the configuration to the wire."""
    watcher = Watcher(broker.port, "homeassistant/device/#", "edge_app/kitchen/#")
    service = start(broker.port, "[home_assistant]\nenabled = true\n")
    camera_online(watcher)
    first = watcher.expect(lambda message: message.topic == TOPIC, "the announcement")
    assert body(first)["components"]["camera.door.caption"]["state_topic"] == "edge_app/kitchen/camera/door/caption"
    watcher.publish("homeassistant/status", "online")
    wait_until(lambda: watcher.count(TOPIC) == 2, "the announcement again")
    again = [message for message in watcher.messages if message.topic == TOPIC][1]
    assert again.payload == first.payload
    assert "failed" not in service.log
    assert service.stop()[0] == 0
    assert retained(broker.port) == first.payload
    watcher.close()


def test_the_service_announces_rules_of_both_origins_as_they_come_and_go(broker: Broker, start: Start) -> None:
    """Those of the configuration from the start, one that is added by MQTT at once, and its end when it is removed."""
    watcher = Watcher(broker.port, TOPIC, f"{TOPICS.root}/#")
    rule = '[[rule]]\nid = "dark"\nquestion = "is it dark?"\n'
    start(broker.port, f"[home_assistant]\nenabled = true\n{rule}")

    def component(key: str) -> Any:
        payloads = [body(message) for message in watcher.messages if message.topic == TOPIC]
        return payloads[-1]["components"].get(key) if payloads else None

    wait_until(lambda: component("rule.dark.state"), "the rule of the configuration")
    watcher.publish(f"{TOPICS.root}/request/rule/add", '{"id": "cup", "question": "is there a cup?"}')
    wait_until(lambda: component("rule.cup.state"), "the rule that was added")
    assert component("rule.cup.state")["name"] == "is there a cup?"
    watcher.publish(f"{TOPICS.root}/request/rule/remove", '{"id": "cup"}')
    wait_until(lambda: component("rule.cup.state") == {"platform": "binary_sensor"}, "its removal")
    assert component("rule.dark.state")["name"] == "is it dark?"
    watcher.close()


def test_entities_that_find_no_room_are_left_out_and_said_to_be(
    broker: Broker,
    make_node: MakeNode,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last pictures of rules are not announced, or no more, and the log says how many entities those are."""
    node = make_node(broker.port)
    home = link(node, tmp_path)
    rules = [Question(f"r{number}", "?", snapshot=True) for number in range(8)]
    home.announce(rules)
    assert home._payload is not None and "not told of all" not in caplog.text
    monkeypatch.setattr(home_assistant, "MOST_BYTES", len(home._payload) - 2000)
    home.announce(rules[:-1])
    node.until_settled()
    found = told(broker.port)
    live = [key for key, component in found.items() if len(component) > 1]
    (line,) = [record.message for record in caplog.records if "not told of all" in record.message]
    assert line.endswith(f"told={len(live)} left_out={16 + 14 - len(live)}")
    assert "rule.r0.state" in live and "rule.r6.snapshot" not in live
    assert found["rule.r6.snapshot"] == {"platform": "image"}


def test_rules_that_come_by_mqtt_cannot_cut_the_board_off(make_broker: MakeBroker, start: Start) -> None:
    """64 with pictures and the longest questions: one connection, one response each, and a question is answered."""
    broker = make_broker("allow_anonymous true\nmax_packet_size 131072")
    watcher = Watcher(broker.port, f"{NODE}/response/#", ANSWER, f"{NODE}/camera/#")
    allowed = {"EDGE_APP_MQTT__ALLOW_RULE_SNAPSHOTS": "true"}
    service = start(broker.port, "[home_assistant]\nenabled = true\n", environ=allowed)
    camera_online(watcher)
    for number in range(MAX_RULES):
        rule = {"id": f"{number:064d}", "question": "\U00010400" * 256, "snapshot": True}
        watcher.publish(f"{NODE}/request/rule/add", json.dumps(rule, ensure_ascii=False))
    wait_until(lambda: watcher.count(f"{NODE}/response/rule/add") == MAX_RULES, "the responses")
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"
    statuses = {body(message)["status"] for message in watcher.messages if "/response/" in message.topic}
    watcher.close()
    assert (statuses, service.log.count("mqtt connected"), retained(broker.port) is None) == ({"ok"}, 1, False)
