"""Every setting: one frozen object a subsystem, each field with its unit, range and default.

Illegal combinations are refused here, once, at construction, by the validator of the field that comes last among those
concerned: it sees the fields before it that are right (`ValidationInfo.data`), so that a wrong field hides no other
problem. Secrets are never a value: a setting names the file that holds one. docs/configuration.md is generated from
this file.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from edge_app.minisign import parse_public_key
from edge_app.rules.rule import MAX_RULES, RuleConfig
from edge_app.section import Name, Section
from edge_app.state import state_folder

NETWORK_KINDS = ("rtsp://", "rtsps://", "http://", "https://")
SOURCE_KINDS = ("/dev/", "v4l2:", *NETWORK_KINDS, "gst:", "file:", "scene:")


def _default_node_id() -> str:
    """The host name, with what a topic level must not hold replaced by "-"."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "node"


class NodeConfig(Section):
    """Who this board is."""

    id: Name = Field(default_factory=_default_node_id, description="Name of this board in every topic.")


TOPIC = r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}$"  # plain levels, no wildcard


class MqttConfig(Section):
    """The broker, and how far it is trusted."""

    host: str = Field(default="localhost", min_length=1, description="Host name or address of the broker.")
    port: int | None = Field(default=None, ge=1, le=65535, description="TCP port; left out: 1883, with TLS 8883.")
    tls: bool = Field(default=False, description="Encrypt, and check the broker's certificate and host name.")
    tls_ca_certs: Path | None = Field(
        default=None, description="CA certificates (PEM) to trust in place of the system's; turns TLS on."
    )
    tls_client_cert: Path | None = Field(default=None, description="Certificate (PEM) of this board.")
    tls_client_key: Path | None = Field(default=None, description="Key (PEM) of that certificate.")
    user: str | None = Field(default=None, min_length=1, description="User name at the broker.")
    allow_plaintext_password: bool = Field(
        default=False, description="Send the password unencrypted to a host other than this one."
    )
    password_file: Path | None = Field(
        default=None, description="File whose first line is the password; not readable by everybody."
    )
    client_id: str | None = Field(
        default=None, min_length=1, max_length=128, description="MQTT client id; left out: edge-app-<node>."
    )
    qos: Literal[0, 1] = Field(default=1, description="Quality of service of the subscriptions.")
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="MQTT version spoken.")
    base: str = Field(
        default="edge_app",
        pattern=TOPIC,
        description="First level or levels of every topic.",
    )
    keepalive_s: int = Field(
        default=15, ge=5, le=3600, description="Seconds between pings; a dead link shows after twice this."
    )
    allowed_response_prefixes: tuple[str, ...] = Field(
        default=("reply/",),
        max_length=16,
        description="Beginnings that a request's MQTT 5 response topic may have; "
        "<base>/<node>/reply/ is always allowed, other topics under <base>/ never.",
    )
    allow_rule_snapshots: bool = Field(
        default=False, description="Let rules that come by MQTT publish pictures; those of this file need no leave."
    )
    session_expiry_s: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Seconds for which the broker keeps questions while the connection is broken; 0: not at all. MQTT "
        "3.1.1 knows only never and for ever.",
    )

    @property
    def uses_tls(self) -> bool:
        """TLS is asked for, by `tls` or by naming whom to trust."""
        return self.tls or self.tls_ca_certs is not None

    @property
    def effective_port(self) -> int:
        """`port`, or the customary one."""
        if self.port is not None:
            return self.port
        return 8883 if self.uses_tls else 1883

    @field_validator("allowed_response_prefixes")
    @classmethod
    def _plain_prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            if not prefix or prefix.startswith("$") or any(char in prefix for char in "+#\0"):
                raise ValueError(f"prefix {prefix!r} is empty, begins with $ or holds a wildcard; name plain levels")
        return prefixes

    @field_validator("tls_client_cert")
    @classmethod
    def _certificate_needs_tls(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path and {"tls", "tls_ca_certs"} <= info.data.keys() and not (info.data["tls"] or info.data["tls_ca_certs"]):
            raise ValueError("tls_client_cert is set but TLS is off; set tls = true")
        return path

    @field_validator("tls_client_key")
    @classmethod
    def _key_needs_certificate(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path and info.data.get("tls_client_cert", path) is None:
            raise ValueError("tls_client_key is set without tls_client_cert; set both")
        return path

    @field_validator("password_file")
    @classmethod
    def _password_is_used_and_kept(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        known = info.data
        problems = []
        if path and known.get("user", path) is None:
            problems.append("password_file is set without user; set user too")
        ways = {"host", "tls", "tls_ca_certs", "allow_plaintext_password"}
        if (
            path
            and ways <= known.keys()
            and not (
                known["tls"]
                or known["tls_ca_certs"]
                or known["allow_plaintext_password"]
                or _is_loopback(known["host"])
            )
        ):
            problems.append(
                f"the password would cross the network to {known['host']!r} unencrypted; "
                "set tls = true (or, if that network is trusted, allow_plaintext_password = true)"
            )
        if problems:
            raise ValueError(". Besides, ".join(problems))
        return path


class ModelConfig(Section):
    """The vision-language model and its process."""

    bundles: tuple[Path, ...] = Field(min_length=1, max_length=8, description="Bundle folders to load.")
    device: Literal["AUTO", "CPU", "GPU"] = Field(
        default="AUTO",
        description="Inference device; AUTO: what `edge-app bench --tune` found best, else the GPU if it passes its "
        "self-check, else the CPU.",
    )
    text_device: Literal["CPU", "GPU"] | None = Field(
        default=None, description="Device of question encoder and decoder; left out: the same as `device`."
    )
    threads: int = Field(default=0, ge=0, le=64, description="CPU inference threads; 0: OpenVINO decides.")
    cache_dir: Path | None = Field(default=None, description="Folder for compiled models; left out: no cache.")
    state_dir: Path | None = Field(
        default=None,
        description="Folder of what `edge-app bench --tune` found; left out: systemd's state folder "
        "(`$STATE_DIRECTORY`), else `/var/lib/edge-app`.",
    )
    trusted_keys: tuple[str, ...] = Field(
        default=(),
        max_length=2,
        description="Public keys of minisign (`RW...`), of which one must have signed each bundle; none: unsigned "
        "bundles are taken.",
    )
    start_timeout_s: float = Field(
        default=180, ge=1, le=1800, description="Seconds to load and compile; over it the process is replaced."
    )
    request_timeout_s: float = Field(
        default=20, ge=0.1, le=600, description="Seconds for one inference; over it the process is replaced."
    )

    def hello(self) -> dict[str, Any]:
        """What the model's process is told of these settings, as JSON values."""
        return {
            "bundles": [str(bundle) for bundle in self.bundles],
            "device": self.device,
            "text_device": self.text_device,
            "threads": self.threads,
            "cache_dir": str(self.cache_dir) if self.cache_dir else None,
            "state_dir": str(state_folder(self.state_dir)),
            "trusted_keys": list(self.trusted_keys),
        }

    @field_validator("trusted_keys")
    @classmethod
    def _keys_of_minisign(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            parse_public_key(key)
        return keys


class CaptionConfig(Section):
    """Captions that nobody has to ask for."""

    enabled: bool = Field(default=True, description="Caption by itself; false: as if paused at start.")
    interval_s: float = Field(
        default=5, ge=0, le=86_400, description="Seconds between captions of a camera; 0: as fast as it goes."
    )
    prompt: str | None = Field(
        default=None, max_length=128, description="How captions begin; left out: the model's own."
    )
    history: bool = Field(
        default=False,
        description="Send every caption to `camera/<cam>/history` as well, at least once.",
    )


class GateConfig(Section):
    """No inference while the picture stands still."""

    enabled: bool = Field(
        default=False, description="Caption, and ask rules, only when the picture has changed, or after `refresh_s`."
    )
    refresh_s: float = Field(
        default=300, ge=1, le=86_400, description="Seconds after which a picture that stands still is looked at anew."
    )


class AskConfig(Section):
    """Questions over MQTT."""

    queue_length: int = Field(default=8, ge=1, le=256, description="Questions that wait; more are told `busy`.")
    max_timeout_s: float = Field(default=60, ge=0.1, le=600, description="The longest limit a question may ask for.")
    timeout_s: float = Field(
        default=10,
        ge=0.1,
        le=600,
        validate_default=True,
        description="Seconds until a question without its own limit is told `timeout`.",
    )
    max_question_chars: int = Field(default=256, ge=16, le=2000, description="Characters in a question.")

    @field_validator("timeout_s")
    @classmethod
    def _within_the_longest(cls, timeout_s: float, info: ValidationInfo) -> float:
        longest_s = info.data.get("max_timeout_s", timeout_s)
        if timeout_s > longest_s:
            raise ValueError(f"timeout_s is {timeout_s:g} but max_timeout_s only {longest_s:g}; raise it")
        return timeout_s


def _with_area(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError(
            f"{list(box)} is no part of a picture; write [left, top, right, bottom] as fractions, "
            "left < right and top < bottom, within 0 to 1"
        )
    return box


Box = Annotated[tuple[float, float, float, float], AfterValidator(_with_area)]
"""Left, top, right, bottom as fractions of a picture."""


class CameraConfig(Section):
    """One camera."""

    name: Name = Field(description="Name of the camera in topics.")
    source: str = Field(
        min_length=1,
        description="`/dev/video0`, `rtsp://...`, `http://...`, `file:PATH` (video, image, folder), `gst:PIPELINE` "
        "(GStreamer) or `scene:`.",
    )
    credentials_file: Path | None = Field(
        default=None,
        description="File with one line `user:password` for an RTSP or HTTP camera; not readable by everybody.",
    )
    width_px: int = Field(default=1280, ge=16, le=3840, description="Width asked of the camera.")
    height_px: int = Field(default=720, ge=16, le=3840, description="Height asked of the camera.")
    fps: int = Field(default=15, ge=1, le=120, description="Frames per second asked of the camera.")
    rotation: Literal[0, 90, 180, 270] = Field(
        default=0, description="Degrees by which its picture is turned clockwise, for a camera that hangs otherwise."
    )
    crop: Box | None = Field(
        default=None,
        description="The part of the turned picture that is used, by model and display alike: left, top, right, bottom "
        "as fractions of it; left out: all.",
    )
    region: Box | None = Field(
        default=None,
        description="The part of what is used where captions, and questions and rules without a region of their own, "
        "look; left out: everywhere.",
    )
    interval_s: float | None = Field(
        default=None, ge=0, le=86_400, description="Seconds between its captions; left out: `caption.interval_s`."
    )
    stall_s: float = Field(
        default=6, ge=1, le=600, description="Seconds without a sign of life until its process is replaced."
    )

    @field_validator("source")
    @classmethod
    def _known_kind(cls, source: str) -> str:
        if "://" in source and re.search(r"\s", source):
            raise ValueError(
                "an address holds no white space; write %20, and %40 for an @ or %2F for a / in a password"
            )
        if not source.startswith(SOURCE_KINDS):
            shown = without_credentials(source)
            raise ValueError(f"the source {shown!r} is of no known kind; it begins with {', '.join(SOURCE_KINDS)}")
        return source

    @field_validator("credentials_file")
    @classmethod
    def _login_is_used_once(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        source = info.data.get("source")
        if path is None or source is None:
            return path
        if not source.startswith(NETWORK_KINDS):
            raise ValueError(f"credentials_file is set but the source is none of {', '.join(NETWORK_KINDS)}; remove it")
        if "@" in source.partition("?")[0]:
            raise ValueError("credentials_file is set and the source has a login too; take it out of the source")
        return path


class DisplayConfig(Section):
    """Where the overlay is shown."""

    backend: Literal["none", "kms", "window", "file"] = Field(
        default="none",
        description="`none`; `kms`: an HDMI screen without a desktop (needs the extra `display`); `window`: on the "
        "desktop of `$DISPLAY`; `file`: into `path`.",
    )
    path: Path | None = Field(
        default=None,
        validate_default=True,
        description="File of the `file` backend: a picture (`.png`, `.jpg`) that is replaced, or a video (`.mkv`, "
        "`.avi`, `.mp4`).",
    )
    picture: bool = Field(
        default=True, description="Show the camera's picture; false: what is said about it, and nothing of itself."
    )
    fps: int | None = Field(
        default=None,
        ge=1,
        le=60,
        description="Pictures a second at most; left out: 60 on a screen, 10 in a video, 1 in a picture file.",
    )
    video_mib: int = Field(
        default=256, ge=1, le=65536, description="Size of a video in MiB; then it becomes `<name>.old<suffix>`."
    )

    @field_validator("path")
    @classmethod
    def _file_needs_path(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None and info.data.get("backend") == "file":
            raise ValueError('backend is "file" but path is not set; name the picture file or video')
        return path


class StoreConfig(Section):
    """Where answers and events wait for the broker, and questions for their answers, whatever happens meanwhile."""

    dir: Path | None = Field(
        default=None,
        description="Folder of `messages.db`; left out: `model.state_dir`, else systemd's state folder "
        "(`$STATE_DIRECTORY`), else `/var/lib/edge-app`.",
    )
    limit_mib: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Size of the messages together, in MiB; beyond, the oldest captions go "
        "first, then the oldest answers.",
    )
    memory_mib: int = Field(
        default=4, ge=1, le=64, description="The same while the disk takes nothing and they wait in memory."
    )
    answer_age_d: float = Field(default=7, gt=0, le=365, description="Days until a waiting answer or event is dropped.")
    caption_age_h: float = Field(default=24, gt=0, le=8760, description="Hours until a waiting caption is dropped.")


class LogConfig(Section):
    """What is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")


class HealthConfig(Section):
    """What is reported of the service itself."""

    interval_s: float = Field(default=60, ge=1, le=86_400, description="Seconds between `health` messages.")


class MetricsConfig(Section):
    """The same for Prometheus."""

    port: int | None = Field(
        default=None, ge=1, le=65535, description="TCP port of the Prometheus endpoint; left out: there is none."
    )
    address: str = Field(
        default="127.0.0.1", description="IP address it listens on; everybody who reaches it may read."
    )

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise ValueError(f"{address!r} is no IP address; write 127.0.0.1, or 0.0.0.0 for all networks") from error
        return address


class HomeAssistantConfig(Section):
    """What Home Assistant is told, so that it finds this board by itself."""

    enabled: bool = Field(default=False, description="Announce this board to Home Assistant (MQTT device discovery).")
    device_name: str | None = Field(
        default=None, min_length=1, max_length=64, description="Name of the board there; left out: `node.id`."
    )
    discovery_prefix: str = Field(
        default="homeassistant", pattern=TOPIC, description="First level of the discovery topics, as set there."
    )
    birth_topic: str = Field(
        default="homeassistant/status",
        pattern=TOPIC,
        description="Where Home Assistant says `online` when it has started, as set there.",
    )

    @property
    def heard(self) -> str | None:
        """The birth topic, if anybody here wants to know."""
        return self.birth_topic if self.enabled else None


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
        if problem := repeated_name([camera.name for camera in cameras]):
            raise ValueError(problem)
        return cameras

    @field_validator("rule")
    @classmethod
    def _rules_fit(cls, rules: tuple[RuleConfig, ...], info: ValidationInfo) -> tuple[RuleConfig, ...]:
        ids = [rule.id for rule in rules]
        if twice := sorted({id for id in ids if ids.count(id) > 1}):
            raise ValueError(f"the id {' and '.join(map(repr, twice))} is used twice; give each rule its own")
        if "camera" in info.data:
            names = [camera.name for camera in info.data["camera"]]
            for rule in rules:
                if rule.camera is not None and rule.camera not in names:
                    raise ValueError(
                        f"the rule {rule.id!r} is about the camera {rule.camera!r}, and there are {', '.join(names)}"
                    )
        return rules

    def public(self) -> dict[str, Any]:
        """The configuration as JSON values for publication: no file that holds a secret, no password in a URL."""
        values = self.model_dump(mode="json")
        for key in ("password_file", "tls_client_key"):
            del values["mqtt"][key]
        for camera in values["camera"]:
            camera["source"] = without_credentials(camera["source"])
            del camera["credentials_file"]
        return values


def repeated_name(names: Sequence[str]) -> str | None:
    """What is wrong with the names of cameras that are not all different; None if they are."""
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"the name {' and '.join(map(repr, twice))} is used twice; give each camera its own" if twice else None


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def without_credentials(source: str) -> str:
    """`rtsp://user:secret@host/x?pwd=secret` as `rtsp://***@host/x?***`, also within a text; other text unchanged.

    In a GStreamer pipeline also the properties of its sources that are called so: `user-pw=secret` is `user-pw=***`.
    """
    if source.startswith("gst:"):
        source = re.sub(r"""\b(user-id|user-pw|passphrase|password)\s*=\s*("[^"]*"|\S+)""", r"\1=***", source)
    # To the last @ of the word: people forget to percent-encode the slash of a password.
    without_login = re.sub(r"([a-z][a-z0-9+.-]*://)\S*@", r"\1***@", source, flags=re.IGNORECASE)
    return re.sub(r"([a-z][a-z0-9+.-]*://[^?\s]*)\?[^\s'\"]+", r"\1?***", without_login, flags=re.IGNORECASE)
