"""What happens to a connection, as values: paho's thread makes them, the service's thread takes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Connected:
    """The broker accepted us."""

    packet_maximum_bytes: int


@dataclass(frozen=True)
class Unreachable:
    """An attempt to connect failed: no route, no TLS, or the broker refused us."""

    reason: str


@dataclass(frozen=True)
class Disconnected:
    """The connection ended."""

    reason: str
    taken_over: bool
    """Another client uses our client id: the broker says so, or it looks like it."""


@dataclass(frozen=True)
class Refusal:
    """Why a broker does not take a message."""

    reason: str
    is_final: bool
    """It would refuse the same message again."""


@dataclass(frozen=True)
class Acknowledged:
    """The broker answered a message of QoS 1."""

    mid: int
    refusal: Refusal | None


@dataclass(frozen=True)
class SubscriptionsRefused:
    """The broker will not let us listen, to some topics at least."""

    reason: str


Event = Connected | Unreachable | Disconnected | Acknowledged | SubscriptionsRefused
