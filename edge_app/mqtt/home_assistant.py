"""What Home Assistant is told of a node: one device, and an entity for each thing it says or hears.

Home Assistant's "device discovery" (its MQTT integration, since 2024.11) is one retained JSON object with the keys
`device`, `origin` and `components`. The entities read and write the topics of docs/mqtt.md as they are; where a
payload is JSON, a template in Home Assistant's dialect of Jinja takes the value out. All here is plain data.

A component is keyed by a name that is also the end of its `unique_id`. The parts of a name are joined by dots, which no
camera and no rule has in its name, so that no two things can come by the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edge_app.messages import encode
from edge_app.mqtt.topics import Topics

STATE_CHARS = 255  # Home Assistant refuses a longer state, and longer text
NAME_BYTES = 96  # of a rule's question in the name of its entity
MOST_BYTES = 96 * 1024  # of all components: the message is to stay below the 128 KiB of docs/mosquitto/mosquitto.conf
EVENT_TYPES = ("bundle_rolled_back", "gap", "rule_off", "rule_on", "store_spoilt")  # it drops those it was not told of

Component = dict[str, Any]
"""The settings of one entity, `platform` among them."""


class Rule(Protocol):
    """What Home Assistant has to know of a standing question."""

    @property
    def id(self) -> str:
        """Its name in topics."""

    @property
    def question(self) -> str:
        """What is asked, and the name that people see."""

    @property
    def snapshot(self) -> bool:
        """Whether the picture of its newest event is published."""


def discovery(
    topics: Topics, device_name: str, version: str, components: Mapping[str, Component], gone: Mapping[str, str]
) -> bytes:
    """The payload. `gone` has the platforms of the components that Home Assistant is to remove."""
    identifier = _identifier(topics)
    described = {key: _described(topics, key, component) for key, component in components.items()}
    removed = {key: {"platform": platform} for key, platform in gone.items()}
    return encode(
        {
            "device": {
                "identifiers": [identifier],
                "name": device_name,
                "manufacturer": "edge-app",
                "model": "Camera that says what it sees",
                "sw_version": version,
            },
            "origin": {"name": "edge-app", "sw_version": version},
            "availability": [{"topic": topics.availability}],
            "components": {**described, **removed},
        }
    )


def fitting(topics: Topics, components: Mapping[str, Component]) -> dict[str, Component]:
    """The first of `components`, as many as MOST_BYTES have room for: a broker may take no larger message."""
    found: dict[str, Component] = {}
    left_bytes = MOST_BYTES
    for key, component in components.items():
        left_bytes -= len(encode({key: _described(topics, key, component)}))
        if left_bytes < 0:
            break
        found[key] = component
    return found


def components(
    topics: Topics, cameras: Sequence[str], rules: Sequence[Rule] = (), *, max_question_chars: int = STATE_CHARS
) -> dict[str, Component]:
    """All entities of a node, by key; what can be spared the least first, pictures of rules last."""
    found = {**_node(topics), **_diagnostics(topics)}
    for camera in cameras:
        label = f" {camera}" if len(cameras) > 1 else ""
        entities = _camera(topics, camera, label, max_question_chars)
        found |= {f"camera.{camera}.{key}": entity for key, entity in entities.items()}
    found |= {f"rule.{rule.id}.state": _rule_state(topics, rule) for rule in rules}
    return found | {f"rule.{rule.id}.snapshot": _rule_snapshot(topics, rule) for rule in rules if rule.snapshot}


def _identifier(topics: Topics) -> str:
    return f"edge_app_{topics.node}"


def _described(topics: Topics, key: str, component: Component) -> Component:
    return {"unique_id": f"{_identifier(topics)}.{key}", **component}


def _camera(topics: Topics, camera: str, label: str, max_question_chars: int) -> dict[str, Component]:
    """What one camera shows, is asked and has to report; `label` tells it from others."""
    caption, status = topics.caption(camera), topics.camera_status(camera)
    with_camera: Component = {  # it has nothing to say while the camera is away
        "availability": [{"topic": topics.availability}, {"topic": status}],
        "availability_mode": "all",
    }
    return {
        "caption": {
            "platform": "sensor",
            "name": f"Caption{label}",
            "icon": "mdi:image-text",
            "state_topic": caption,
            "value_template": f"{{{{ value_json.text[:{STATE_CHARS}] }}}}",
            "json_attributes_topic": caption,
            **with_camera,
        },
        "ask": {
            "platform": "text",
            "name": f"Ask{label}",
            "icon": "mdi:comment-question",
            "command_topic": topics.ask,
            # As JSON, because a question about this camera is meant; and so that no question looks like other JSON.
            "command_template": f"{{{{ {{'question': value, 'camera': '{camera}'}} | to_json }}}}",
            "min": 1,
            "max": min(STATE_CHARS, max_question_chars),
            "qos": 1,
            **with_camera,
        },
        "caption_now": {
            "platform": "button",
            "name": f"Caption now{label}",
            "icon": "mdi:camera-iris",
            "command_topic": topics.request("caption"),
            "payload_press": encode({"camera": camera}).decode(),
            "qos": 1,
            **with_camera,
        },
        "online": {
            "platform": "binary_sensor",
            "name": f"Camera{label}",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": status,
            "payload_on": "online",
            "payload_off": "offline",
        },
        "frame_age": {
            "platform": "sensor",
            "name": f"Frame age{label}",
            "entity_category": "diagnostic",
            "device_class": "duration",
            "state_class": "measurement",
            "unit_of_measurement": "s",
            "suggested_display_precision": 1,
            "state_topic": topics.health,
            "value_template": f"{{{{ value_json.cameras['{camera}'].frame_age_s }}}}",
        },
        "inference_time": {
            "platform": "sensor",
            "name": f"Inference time{label}",
            "entity_category": "diagnostic",
            "device_class": "duration",
            "state_class": "measurement",
            "unit_of_measurement": "ms",
            "suggested_display_precision": 0,
            "state_topic": caption,
            "value_template": "{{ value_json.timing_ms.total }}",
        },
    }


def _rule_state(topics: Topics, rule: Rule) -> Component:
    """Whether a standing question is answered with yes."""
    return {
        "platform": "binary_sensor",
        "name": _short(rule.question),
        "icon": "mdi:eye-check",
        "state_topic": topics.rule(rule.id, "state"),
        "value_template": "{{ value if value in ('ON', 'OFF') else 'None' }}",  # None: unknown to Home Assistant
        "json_attributes_topic": topics.rule(rule.id, "attributes"),
    }


def _rule_snapshot(topics: Topics, rule: Rule) -> Component:
    """The picture of the newest event of a rule that publishes it."""
    return {
        "platform": "image",
        "name": f"Picture: {_short(rule.question)}",
        "image_topic": topics.rule(rule.id, "snapshot"),
        "content_type": "image/jpeg",
    }


def _short(question: str) -> str:
    """A question as far as NAME_BYTES have room for it; the attributes have the whole."""
    cut = question.encode("utf-8")[:NAME_BYTES].decode("utf-8", "ignore")
    return question if cut == question else f"{cut.rstrip()}…"


def _node(topics: Topics) -> dict[str, Component]:
    """What the whole node says and what can be set."""
    return {
        "answer": {
            "platform": "sensor",
            "name": "Answer",
            "icon": "mdi:comment-check",
            "state_topic": topics.answer,
            # An error is no answer: unknown, with the reason in the attribute `error`.
            "value_template": f"{{{{ 'None' if value_json.error else value_json.text[:{STATE_CHARS}] }}}}",
            "json_attributes_topic": topics.answer,
            "qos": 1,
        },
        "event": {
            "platform": "event",
            "name": "Event",
            "icon": "mdi:bell",
            "state_topic": topics.event,
            "event_types": list(EVENT_TYPES),
            "qos": 1,
        },
        "pause": {
            "platform": "switch",
            "name": "Pause captions",
            "icon": "mdi:pause",
            "entity_category": "config",
            "state_topic": topics.setting_state("pause"),
            "command_topic": topics.setting("pause"),
            "payload_on": "ON",
            "payload_off": "OFF",
            "qos": 1,
        },
        "interval": {
            "platform": "number",
            "name": "Caption interval",
            "icon": "mdi:timer",
            "entity_category": "config",
            "device_class": "duration",
            "unit_of_measurement": "s",
            "mode": "box",
            "min": 0,
            "max": 86_400,
            "step": 0.1,
            "state_topic": topics.setting_state("interval"),
            "command_topic": topics.setting("interval"),
            "command_template": "{{ value | round(3) }}",  # never 0.30000000000000004
            "qos": 1,
        },
    }


def _diagnostics(topics: Topics) -> dict[str, Component]:
    """How the node does; what has no value now (no thermometer, no model yet) is unknown."""
    diagnostics: dict[str, Component] = {
        "model": {
            "name": "Model",
            "icon": "mdi:brain",
            "device_class": "enum",
            "options": ["starting", "ready", "failed"],
            "state_topic": topics.info,
            "value_template": "{{ value_json.model.state }}",
            "json_attributes_topic": topics.info,
            "json_attributes_template": "{{ value_json.model | to_json }}",
        },
        "device": {
            "name": "Inference device",
            "icon": "mdi:chip",
            "state_topic": topics.info,
            "value_template": "{{ value_json.model.device | default('None') }}",
        },
        "version": {
            "name": "Version",
            "icon": "mdi:tag",
            "state_topic": topics.info,
            "value_template": "{{ value_json.version }}",
        },
        "store": {
            "name": "Message store",
            "icon": "mdi:database",
            "device_class": "enum",
            "options": ["disk", "memory"],
            "state_topic": topics.health,
            "value_template": "{{ value_json.store.mode }}",
            "json_attributes_topic": topics.health,
            "json_attributes_template": "{{ value_json.store | to_json }}",
        },
        "memory": {
            "name": "Memory",
            "device_class": "data_size",
            "state_class": "measurement",
            "unit_of_measurement": "MiB",
            "suggested_display_precision": 0,
            "state_topic": topics.health,
            "value_template": "{{ (value_json.rss_mib or 0) + (value_json.model.rss_mib or 0) }}",
        },
        "temperature": {
            "name": "Temperature",
            "device_class": "temperature",
            "state_class": "measurement",
            "unit_of_measurement": "°C",
            "suggested_display_precision": 0,
            "state_topic": topics.health,
            "value_template": "{{ value_json.temperature_c }}",
        },
    }
    return {key: {"platform": "sensor", "entity_category": "diagnostic", **each} for key, each in diagnostics.items()}
