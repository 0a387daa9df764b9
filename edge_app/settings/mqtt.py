"""The broker, how far it is trusted, and what Home Assistant is told there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from edge_app.section import Section

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
    tls_client_key: Path | None = Field(
        default=None, validate_default=True, description="Key (PEM) of that certificate; one file may hold both."
    )
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

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        if re.search(r"[/\s]", host) or re.fullmatch(r"[^:]*:\d*", host):
            raise ValueError(f"{host!r} is no host name or address; leave out what is before and after, and set port")
        return host

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
    def _key_and_certificate(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("tls_client_cert", path)
        if path and certificate is None:
            raise ValueError("tls_client_key is set without tls_client_cert; set both")
        if certificate and path is None:
            raise ValueError("tls_client_cert is set without tls_client_key; set both, to one file if it holds both")
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


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
