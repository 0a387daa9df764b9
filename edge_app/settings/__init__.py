"""Every setting: one frozen object a subsystem, each field with its unit, range and default.

Illegal combinations are refused here, once, at construction, by the validator of the field that comes last among those
concerned: it sees the fields before it that are right (`ValidationInfo.data`), so that a wrong field hides no other
problem. Secrets are never a value: a setting names the file that holds one. docs/configuration.md is generated from
this package.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from edge_app.rules.rule import MAX_RULES, RuleConfig
from edge_app.section import Name, Section
from edge_app.settings.camera import SOURCE_KINDS, Box, CameraConfig, without_credentials
from edge_app.settings.model import AskConfig, CaptionConfig, GateConfig, ModelConfig
from edge_app.settings.mqtt import HomeAssistantConfig, MqttConfig
from edge_app.settings.outputs import DisplayConfig, HealthConfig, LogConfig, MetricsConfig, StoreConfig

__all__ = [
    "SOURCE_KINDS",
    "AskConfig",
    "Box",
    "CameraConfig",
    "CaptionConfig",
    "Config",
    "DisplayConfig",
    "GateConfig",
    "HealthConfig",
    "HomeAssistantConfig",
    "LogConfig",
    "MetricsConfig",
    "ModelConfig",
    "MqttConfig",
    "NodeConfig",
    "StoreConfig",
    "repeated",
    "without_credentials",
]


def _default_node_id() -> str:
    """The host name, with what a topic level must not hold replaced by "-"."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "node"


class NodeConfig(Section):
    """Who this board is."""

    id: Name = Field(default_factory=_default_node_id, description="Name of this board in every topic.")


class Config(Section):
    """The whole configuration."""

    node: NodeConfig = Field(default_factory=NodeConfig)
    mqtt: MqttConfig = Field(default_factory=MqttConfig)
    model: ModelConfig
    caption: CaptionConfig = Field(default_factory=CaptionConfig)
    ask: AskConfig = Field(default_factory=AskConfig)
    camera: tuple[CameraConfig, ...] = Field(min_length=1, max_length=16)
    gate: GateConfig = Field(default_factory=GateConfig)
    rule: tuple[RuleConfig, ...] = Field(default=(), max_length=MAX_RULES)
    display: DisplayConfig = Field(default_factory=DisplayConfig)
    store: StoreConfig = Field(default_factory=StoreConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    health: HealthConfig = Field(default_factory=HealthConfig)
    metrics: MetricsConfig = Field(default_factory=MetricsConfig)
    home_assistant: HomeAssistantConfig = Field(default_factory=HomeAssistantConfig)

    @field_validator("camera")
    @classmethod
    def _names_differ(cls, cameras: tuple[CameraConfig, ...]) -> tuple[CameraConfig, ...]:
        if problem := repeated([camera.name for camera in cameras], "name", "camera"):
            raise ValueError(problem)
        return cameras

    @field_validator("rule")
    @classmethod
    def _rules_fit(cls, rules: tuple[RuleConfig, ...], info: ValidationInfo) -> tuple[RuleConfig, ...]:
        if problem := repeated([rule.id for rule in rules], "id", "rule"):
            raise ValueError(problem)
        if "camera" in info.data:
            names = [camera.name for camera in info.data["camera"]]
            for rule in rules:
                if rule.camera is not None and rule.camera not in names:
                    raise ValueError(
                        f"the rule {rule.id!r} is about the camera {rule.camera!r}, and there are {', '.join(names)}"
                    )
        return rules

    @field_validator("display")
    @classmethod
    def _shows_a_camera(cls, display: DisplayConfig, info: ValidationInfo) -> DisplayConfig:
        names = [camera.name for camera in info.data.get("camera", ())]
        if names and display.camera is not None and display.camera not in names:
            raise ValueError(f"its camera is {display.camera!r}, and there are {', '.join(names)}")
        return display

    def public(self) -> dict[str, Any]:
        """The configuration as JSON values for publication: no file that holds a secret, no password in a URL."""
        values = self.model_dump(mode="json")
        for key in ("password_file", "tls_client_key"):
            del values["mqtt"][key]
        values["mqtt"]["tls"] = self.mqtt.uses_tls  # which naming whom to trust turns on, too
        for camera in values["camera"]:
            camera["source"] = without_credentials(camera["source"])
            del camera["credentials_file"]
        return values


def repeated(names: Sequence[str], what: str, whose: str) -> str | None:
    """What is wrong with names that are not all different, as `what` of each `whose`; None if they are."""
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"the {what} {' and '.join(map(repr, twice))} is used twice; give each {whose} its own" if twice else None
