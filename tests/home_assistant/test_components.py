"""What Home Assistant is told: its entities show what the node publishes, and what they send is understood."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest

from edge_app.mqtt.home_assistant import EVENT_TYPES, STATE_CHARS, Component, components, discovery, fitting
from edge_app.mqtt.home_assistant_link import GONE_KEPT
from edge_app.mqtt.requests import Inbound, Rules, parse_command, parse_question, parse_setting
from edge_app.mqtt.topics import Topics
from tests.mqtt.test_docs import PAYLOADS

ROOT = Path(__file__).parents[2]
TOPICS = Topics("edge_app", "kitchen")
RULES = Rules(TOPICS, ("reply/",), 10, 60, 256)
LONG = "ä" * 64


@dataclass(frozen=True)
class Question:
    """A rule as far as Home Assistant is concerned."""

    id: str
    question: str
    snapshot: bool = False


OPEN = Question("door_open", "Is the door open?", snapshot=True)


def rendered(template: str, **values: Any) -> str:
    """A template as Home Assistant renders it."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters["to_json"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(template).render(values).strip()


def state(component: Component, payload: Any) -> str:
    """What an entity shows for a payload: text, or what is to be JSON."""
    template = component.get("value_template", "{{ value }}")
    if isinstance(payload, str):
        return rendered(template, value=payload)
    return rendered(template, value=json.dumps(payload), value_json=payload)


def sent(component: Component, value: Any) -> Inbound:
    """What an entity sends for a value."""
    payload = rendered(component.get("command_template", "{{ value }}"), value=value).encode()
    return Inbound(component["command_topic"], payload, len(payload), retained=False)


FOUND = components(TOPICS, ["door"], [OPEN])


def test_a_node_with_everything_has_these_entities() -> None:
    """The list of the documentation, with the platform of each."""
    assert {key: component["platform"] for key, component in FOUND.items()} == {
        "camera.door.caption": "sensor",
        "camera.door.ask": "text",
        "camera.door.caption_now": "button",
        "camera.door.online": "binary_sensor",
        "camera.door.frame_age": "sensor",
        "camera.door.inference_time": "sensor",
        "rule.door_open.state": "binary_sensor",
        "rule.door_open.snapshot": "image",
        "answer": "sensor",
        "event": "event",
        "pause": "switch",
        "interval": "number",
        "model": "sensor",
        "device": "sensor",
        "version": "sensor",
        "store": "sensor",
        "memory": "sensor",
        "temperature": "sensor",
    }


def test_the_documentation_lists_every_entity() -> None:
    """Platform, name and kind in the table of docs/home-assistant.md; rules are called after their question."""
    text = (ROOT / "docs/home-assistant.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+?) \| (\w*) ?\|", text, re.M)
    listed = {(platform, kind, name) for platform, name, kind in rows if "the question of a rule" not in name}
    kinds = {"config": "configuration", "diagnostic": "diagnostic", None: ""}
    assert listed == {
        (component["platform"], kinds[component.get("entity_category")], component["name"])
        for component in components(TOPICS, ["door"]).values()
    }
    assert len(rows) == len(listed) + 2 == len(FOUND)


def test_pictures_are_told_only_where_they_are_published() -> None:
    """An image without a picture would stay empty for ever."""
    assert "rule.dark.snapshot" not in components(TOPICS, ["door"], [Question("dark", "Is it dark?")])


def test_several_cameras_are_told_apart_by_name() -> None:
    """With one camera no entity is called after it; with two, those of a camera are."""
    two = components(TOPICS, ["door", "yard"])
    assert two["camera.yard.caption"]["name"] == "Caption yard"
    assert FOUND["camera.door.caption"]["name"] == "Caption"
    assert len({component["name"] for component in two.values()}) == len(two)


@pytest.mark.parametrize(
    ("key", "payload", "shown"),
    [
        ("camera.door.caption", PAYLOADS["caption"], "a red cup on a wooden table"),
        ("camera.door.caption", {**PAYLOADS["caption"], "text": LONG * 10}, "ä" * 255),
        ("camera.door.inference_time", PAYLOADS["caption"], "162.5"),
        ("camera.door.frame_age", PAYLOADS["health"], "0.07"),
        ("answer", PAYLOADS["answer"], "yes"),
        ("answer", {**PAYLOADS["answer"], "text": LONG * 10}, "ä" * 255),
        ("answer", {**PAYLOADS["answer"], "text": None, "error": {"code": "busy", "message": "Later."}}, "None"),
        ("rule.door_open.state", "ON", "ON"),
        ("rule.door_open.state", "OFF", "OFF"),
        ("rule.door_open.state", "unknown", "None"),
        ("model", PAYLOADS["info"], "ready"),
        ("device", PAYLOADS["info"], "GPU+CPU"),
        ("device", {**PAYLOADS["info"], "model": {"state": "starting"}}, "None"),
        ("version", PAYLOADS["info"], "0.1.0"),
        ("store", PAYLOADS["health"], "disk"),
        ("memory", PAYLOADS["health"], "846.5"),
        ("temperature", PAYLOADS["health"], "51.0"),
        ("temperature", {**PAYLOADS["health"], "temperature_c": None}, "None"),
        ("pause", "ON", "ON"),
        ("interval", "2.5", "2.5"),
    ],
)
def test_an_entity_shows_what_the_documented_payload_says(key: str, payload: Any, shown: str) -> None:
    """At most 255 characters; what is not known is None, which Home Assistant shows as unknown."""
    assert state(FOUND[key], payload) == shown
    assert len(shown) <= STATE_CHARS


def test_attributes_are_json_objects() -> None:
    """The whole result of a caption or an answer; of `info` and `health` the part that belongs to the entity."""
    documents = {TOPICS.info: PAYLOADS["info"], TOPICS.health: PAYLOADS["health"]}
    for component in FOUND.values():
        if template := component.get("json_attributes_template"):
            document = documents[component["json_attributes_topic"]]
            assert isinstance(json.loads(rendered(template, value_json=document)), dict)
    assert "json_attributes_template" not in FOUND["camera.door.caption"]


@pytest.mark.parametrize("text", ['what is "this"?', "{is it open?", "null", "5", "ist die Tür auf?", "'; {{ x }}"])
def test_every_question_that_is_typed_is_a_question_about_that_camera(text: str) -> None:
    """Whatever it looks like, also like JSON, which the plain form of `ask` refuses."""
    question = parse_question(sent(FOUND["camera.door.ask"], text), RULES, lambda: "m1")
    assert (getattr(question, "question", question), getattr(question, "camera", None)) == (text, "door")


def test_settings_and_commands_are_understood() -> None:
    """Home Assistant sends numbers as Python writes them, and the button a command for its camera."""
    assert parse_setting(sent(FOUND["interval"], 5), "interval") == 5
    assert parse_setting(sent(FOUND["interval"], 0.1 + 0.2), "interval") == 0.3
    assert parse_setting(sent(FOUND["interval"], 86_400), "interval") == 86_400
    for value in ("payload_on", "payload_off"):
        assert parse_setting(sent(FOUND["pause"], FOUND["pause"][value]), "pause") is (value == "payload_on")
    button = FOUND["camera.door.caption_now"]
    command = parse_command(sent(button, button["payload_press"]), "caption", RULES)
    assert (getattr(command, "name", None), getattr(command, "camera", None)) == ("caption", "door")
    assert TOPICS.route(button["command_topic"]) == ("request", "caption")


def test_every_event_type_that_the_service_sends_is_announced() -> None:
    """Home Assistant drops an event of a type that it has not been told of."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "edge_app").rglob("*.py"))
    assert set(re.findall(r"publisher\.event\(\s*\"(\w+)\"", sources)) <= set(EVENT_TYPES)
    assert state(FOUND["event"], PAYLOADS["event"])  # no template: Home Assistant reads the object itself
    assert PAYLOADS["event"]["event_type"] in EVENT_TYPES


GONE = {f"rule.{number:064d}.snapshot": "binary_sensor" for number in range(GONE_KEPT)}


def packet_limit_bytes() -> int:
    """What the broker of the documentation takes."""
    text = (ROOT / "docs/mosquitto/mosquitto.conf").read_text(encoding="utf-8")
    (limit,) = re.findall(r"^max_packet_size (\d+)$", text, re.M)
    return int(limit)


@pytest.mark.parametrize(
    ("topics", "name_chars", "whole"),
    [
        (Topics("edge_app", "kitchen"), 16, True),
        (Topics("edge_app", "kitchen"), 64, False),
        (Topics("/".join(["b" * 64] * 4), "n" * 64), 64, False),
    ],
)
def test_the_largest_node_is_within_all_limits(topics: Topics, name_chars: int, whole: bool) -> None:
    """16 cameras, 64 rules with questions in letters of four bytes, 64 entities that have gone.

    With the longest names not all are told.
    """
    cameras = [f"{number:0{name_chars}d}" for number in range(16)]
    rules = [Question(f"{number:0{name_chars}d}", "\U00010400" * 256, snapshot=True) for number in range(64)]
    found = components(topics, cameras, rules)
    told = fitting(topics, found)
    assert (len(told) == len(found)) is whole
    assert list(found)[: len(told)] == list(told)
    assert len(discovery(topics, "n" * 64, "1.0.0", told, GONE)) <= 0.85 * packet_limit_bytes()
    for component in found.values():
        assert len(component["name"]) <= STATE_CHARS
        for key, value in component.items():
            if key.endswith("_topic"):
                assert len(value) <= 65_535
    assert len(discovery(TOPICS, "kitchen", "1.0.0", FOUND, {})) <= 16 * 1024


def test_pictures_of_rules_are_left_out_first() -> None:
    """Then rules, the newest first, then cameras; the node itself is always told."""
    last = ["" if "." not in key else key.rpartition(".")[2] for key in components(TOPICS, ["door"], [OPEN])]
    assert last[0] == "" and last[-2:] == ["state", "snapshot"]


def test_a_long_question_is_cut_between_letters() -> None:
    """At most 96 bytes of it, and a mark that it goes on; a shorter one is the name as it is."""
    name = components(TOPICS, ["door"], [Question("a", "x" + "\u00e4" * 255)])["rule.a.state"]["name"]
    assert name == "x" + "\u00e4" * 47 + "\u2026"
    assert FOUND["rule.door_open.state"]["name"] == OPEN.question


def test_no_two_components_share_an_id_whatever_they_are_called() -> None:
    """Names that look like those of other components are kept apart by the dots."""
    cameras = ["a", "a_caption", "caption", "now", "answer"]
    rules = [Question(name, "?", snapshot=True) for name in cameras]
    payload = json.loads(discovery(TOPICS, "kitchen", "1", components(TOPICS, cameras, rules), {}))
    ids = [component["unique_id"] for component in payload["components"].values()]
    assert len(set(ids)) == len(ids) == 5 * 6 + 5 * 2 + 10
    assert not any(" " in key for key in payload["components"])  # Home Assistant parts names at spaces
