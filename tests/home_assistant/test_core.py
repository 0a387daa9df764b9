"""A real Home Assistant finds the node, shows what it says, and moves it.

Home Assistant wants a Python of its own, so it is not among the packages of the suite. Make an environment with it, and
name its Python: `EDGE_APP_HOME_ASSISTANT_PYTHON=/path/bin/python` (`pip install homeassistant`; run with 2025.4.4).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_app.mqtt.home_assistant import components, discovery
from tests.broker import PATIENCE_S, Broker, Watcher, body, broker, free_port, needs_mosquitto, wait_until
from tests.home_assistant.test_components import OPEN, TOPICS
from tests.service.harness import NODE, Start, start

__all__ = ["broker", "start"]
PYTHON = os.environ.get("EDGE_APP_HOME_ASSISTANT_PYTHON")
pytestmark = [
    needs_mosquitto,
    pytest.mark.skipif(not PYTHON, reason="EDGE_APP_HOME_ASSISTANT_PYTHON names no Python with Home Assistant"),
    pytest.mark.timeout(180),
]
TOPIC = "homeassistant/device/kitchen/config"
CORE_PATIENCE_S = 60


class Core:
    """A Home Assistant at a broker."""

    def __init__(self, folder: Path, port: int) -> None:
        assert PYTHON is not None
        folder.mkdir()
        with (folder / "errors").open("wb") as errors:
            self._process = subprocess.Popen(
                [PYTHON, Path(__file__).with_name("core.py"), folder, str(port), str(free_port())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def do(self, what: str, **values: Any) -> Any:
        """One command, and its reply."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"do": what, **values}).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def call(self, service: str, entity_id: str, **data: Any) -> None:
        """What a person does with an entity."""
        self.do("call", service=service, data={"entity_id": entity_id, **data})

    def shows(self, entity_id: str, condition: Callable[[str], Any]) -> dict[str, Any]:
        """Wait until an entity has a state that fulfils `condition`; its attributes."""

        def look() -> dict[str, Any] | None:
            entity = self.do("states").get(entity_id)
            return entity["attributes"] if entity and condition(entity["state"]) else None

        attributes: dict[str, Any] = wait_until(look, f"{entity_id}", CORE_PATIENCE_S)
        return attributes

    def close(self) -> None:
        """End it in order."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()


@pytest.fixture
def core(broker: Broker, tmp_path: Path) -> Iterator[Core]:
    running = Core(tmp_path / "home-assistant", broker.port)
    yield running
    running.close()


def test_the_schemas_of_home_assistant_take_every_key(core: Core) -> None:
    """They refuse wrong values, and drop unknown keys in silence: none is dropped."""
    payload = discovery(TOPICS, "kitchen", "1.0.0", components(TOPICS, ["door", "yard"], [OPEN]), {})
    assert core.do("unknown_keys", payload=json.loads(payload)) == []


def test_home_assistant_shows_and_moves_a_node(broker: Broker, start: Start, core: Core, tmp_path: Path) -> None:
    """From the birth of both to the end of the device, with everything in between."""
    watcher = Watcher(broker.port, f"{NODE}/#", "homeassistant/#")
    state = tmp_path / "state"
    enabled = "[home_assistant]\nenabled = true\n"
    service = start(broker.port, enabled, state=state)
    attributes = core.shows("sensor.kitchen_caption", lambda state: state == "stand-in caption")
    assert (attributes["camera"], attributes["confidence"]) == ("door", 0.75)
    registry = core.do("registry")
    assert registry["devices"] == ["kitchen"]
    announced = components(TOPICS, ["door"])
    assert {unique_id for unique_id, *_ in registry["entities"].values()} == {
        f"edge_app_kitchen.{key}" for key in announced
    }
    wait_until(lambda: watcher.count(TOPIC) >= 2, "the announcement after Home Assistant's birth", CORE_PATIENCE_S)

    core.call("text.set_value", "text.kitchen_ask", value='{is "it" öpen?')
    attributes = core.shows("sensor.kitchen_answer", lambda state: state == "stand-in ask")
    assert (attributes["question"], attributes["camera"]) == ('{is "it" öpen?', "door")
    core.call("text.set_value", "text.kitchen_ask", value="babble")
    assert len(core.shows("sensor.kitchen_answer", lambda state: len(state) == 255)["text"]) > 255
    core.call("text.set_value", "text.kitchen_ask", value="please refuse")
    attributes = core.shows("sensor.kitchen_answer", lambda state: state == "unknown")
    assert attributes["error"]["code"] == "bad_request"

    core.call("number.set_value", "number.kitchen_caption_interval", value=2.5)
    core.shows("number.kitchen_caption_interval", lambda state: state == "2.5")
    core.call("switch.turn_on", "switch.kitchen_pause_captions")
    core.shows("switch.kitchen_pause_captions", lambda state: state == "on")
    core.call("button.press", "button.kitchen_caption_now")
    response = watcher.expect(lambda message: message.topic == f"{NODE}/response/caption", "the caption")
    assert body(response)["data"]["camera"] == "door"

    core.shows("binary_sensor.kitchen_camera", lambda state: state == "on")
    core.shows("sensor.kitchen_inference_device", lambda state: state == "CPU")
    core.shows("sensor.kitchen_memory", lambda state: float(state) > 1)
    states = core.do("states")
    assert states["sensor.kitchen_message_store"]["state"] == "disk"
    assert not [name for name, entity in states.items() if entity["state"] == "unavailable"]

    service.stop()
    core.shows("sensor.kitchen_caption", lambda state: state == "unavailable")
    start(broker.port, state=state)  # not enabled any more
    wait_until(lambda: core.do("registry") == {"devices": [], "entities": {}}, "the end of the device", CORE_PATIENCE_S)
    assert core.do("warnings") == []
    watcher.close()


def test_home_assistant_follows_rules_that_come_and_go(broker: Broker, core: Core) -> None:
    """A rule's state, its picture and its end; a state that nobody knows is unknown, not off."""
    watcher = Watcher(broker.port, f"{NODE}/#")
    watcher.publish(TOPICS.availability, "online", retain=True)
    watcher.publish(TOPIC, discovery(TOPICS, "kitchen", "1", components(TOPICS, ["door"], [OPEN]), {}), retain=True)
    door = "binary_sensor.kitchen_is_the_door_open"
    core.shows(door, lambda state: state == "unknown")
    for payload, shown in (("ON", "on"), ("unknown", "unknown"), ("OFF", "off")):
        watcher.publish(f"{NODE}/rule/door_open/state", payload, retain=True)
        core.shows(door, lambda state: state == shown)  # noqa: B023
    watcher.publish(f"{NODE}/rule/door_open/attributes", '{"p_yes": 0.01}', retain=True)
    wait_until(lambda: core.do("states")[door]["attributes"].get("p_yes") == 0.01, "the attributes")
    watcher.publish(f"{NODE}/rule/door_open/snapshot", b"\xff\xd8\xff\xd9", retain=True)
    core.shows("image.kitchen_picture_is_the_door_open", lambda state: state != "unknown")
    watcher.publish(f"{NODE}/event", '{"v": 1, "event_type": "rule_on", "id": "door_open"}')
    assert core.shows("event.kitchen_event", lambda state: state != "unknown")["event_type"] == "rule_on"
    gone = {"rule.door_open.state": "binary_sensor", "rule.door_open.snapshot": "image"}
    watcher.publish(TOPIC, discovery(TOPICS, "kitchen", "1", components(TOPICS, ["door"]), gone), retain=True)
    wait_until(lambda: door not in core.do("registry")["entities"], "the end of the rule", CORE_PATIENCE_S)
    assert "image.kitchen_picture_is_the_door_open" not in core.do("states")
    assert core.do("warnings") == []
    watcher.close()
