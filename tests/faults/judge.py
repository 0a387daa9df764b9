"""The judge: what the node says it has accepted against what the independent subscriber has heard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.faults.listener import Arrival, Listener
from tests.faults.node import CAMERA, TOPICS

Accounts = Mapping[str, Mapping[str, int]]
"""`{class: {"accepted", "delivered", "dropped", "pending"}}`, as `health.store.accounts`."""


@dataclass(frozen=True)
class Balance:
    """The sums of all classes, and what came.

    Attributes:
        accepted, dropped, pending: what the node says.
        received: different `msg_id`s that the subscriber has heard.
        duplicates: messages beyond the first of their `msg_id`.
    """

    accepted: int
    dropped: int
    pending: int
    received: int
    duplicates: int

    @property
    def lost(self) -> int:
        """Accepted, and neither received nor dropped nor pending; below 0 the node's own accounts are wrong."""
        return self.accepted - self.received - self.dropped - self.pending

    @property
    def duplicate_share(self) -> float:
        """Duplicates for each message received."""
        return self.duplicates / max(1, self.received)

    def __str__(self) -> str:
        return (
            f"{self.accepted} accepted = {self.received} received + {self.dropped} dropped + {self.pending} pending"
            f"{f' + {self.lost} lost' if self.lost else ''}, {self.duplicates} duplicates"
        )


def through_the_outbox(arrival: Arrival) -> bool:
    """Whether a message is one that the node promises to deliver: an answer, response, event or kept caption."""
    topic = arrival.topic
    return not arrival.retained and (
        topic in {TOPICS.answer, f"{TOPICS.root}/event"}
        or topic.startswith(("reply/", f"{TOPICS.root}/response/"))
        or (topic.startswith(f"{TOPICS.root}/camera/") and topic.endswith("/history"))
    )


def balance(accounts: Accounts, listener: Listener) -> Balance:
    """Compare accounts that do not move any more with what came."""
    counts = listener.counts(through_the_outbox)
    sums = {key: sum(each[key] for each in accounts.values()) for key in ("accepted", "dropped", "pending")}
    return Balance(**sums, received=len(counts), duplicates=counts.total() - len(counts))


def quiet_accounts(listener: Listener, timeout_s: float) -> Accounts:
    """Pause captions, wait until all is delivered, and return the accounts; AssertionError if that does not come.

    Quiet is: two `health` messages after the pause with the same accounts, and nothing pending in them.
    """
    listener.publish(TOPICS.setting("pause"), "ON")
    since_s, deadline_s = time.monotonic() + 1, time.monotonic() + timeout_s
    while True:
        newest = [accounts_of(each) for each in listener.heard(_is_health, since_s)[-2:]]
        if len(newest) == 2 and newest[0] == newest[1] and not any(each["pending"] for each in newest[1].values()):
            return newest[1]
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s for the outbox to be empty: {newest[-1:]}"
        time.sleep(0.1)


def captions_per_s(listener: Listener, seconds: float, *, until_s: float | None = None) -> float:
    """Captions a second of the first camera in the seconds before a moment (monotonic); left out: in the next ones."""
    if until_s is None:
        time.sleep(seconds)
        until_s = time.monotonic()
    topic = TOPICS.caption(CAMERA)
    captions = listener.heard(lambda each: each.topic == topic and not each.retained, until_s - seconds)
    return sum(each.arrived_s <= until_s for each in captions) / seconds


def accounts_of(health: Arrival) -> Accounts:
    """The accounts in a `health` message."""
    accounts: Accounts = health.values["store"]["accounts"]
    return accounts


def _is_health(arrival: Arrival) -> bool:
    return arrival.topic == TOPICS.health and bool(arrival.values)
