"""M13: payloads, topics and reply addresses that have broken naive handlers, and many more made up by hypothesis."""

from __future__ import annotations

import itertools
import time
import unicodedata

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge_app.health import nearest_rank
from edge_app.mqtt.topics import SETTING_KEYS
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.listener import Listener
from tests.faults.node import TOPICS
from tests.faults.questions import Questions
from tests.fuzz.strategies import EXAMPLES, STRATEGIES
from tests.fuzz.targets import try_bytes

KINDS = ("ask", "set", "request")  # what comes over MQTT
HANDLER_MS = 5.0
LONGEST_TOPIC_BYTES = 65_535
IN_FLIGHT = 200  # messages that the sender may be ahead of the broker


@fault("M13", "hostile payloads", short=2000, long=10_000, alone=True)
def hostile_payloads(harness: Harness, times: int) -> Outcome:
    """None of them is an exception, each is handled in 5 ms, and the node goes on as if nothing had been.

    All go to a live node. What its handlers take is measured here, in processor time, by the targets of tests/fuzz: the
    node does more at the same time than handle them.
    """
    broker = harness.broker(durable=False)
    listener = harness.listener(broker.port)
    sender = Listener(broker.port, "nothing", name="sender")
    harness.closing(sender)
    node = harness.node(broker.port)
    node.start()
    until_captioned(listener)
    pid, handler_ms = node.pid, []
    numbers = itertools.count()

    def send(kind: str, data: bytes) -> None:
        handler_ms.append(try_bytes(kind, data))
        topic, payload, reply_topic = _message(kind, data, next(numbers))
        if not _may_be_sent(topic):
            return
        last = sender.publish(topic, payload, response_topic=reply_topic if _may_be_sent(reply_topic) else None)
        while len(handler_ms) % IN_FLIGHT == 0 and not sender.is_acknowledged(last):
            time.sleep(0.01)

    @settings(
        max_examples=times,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), STRATEGIES[kind])))
    def made_up(message: tuple[str, bytes]) -> None:
        send(*message)

    with harness.fault("hostile payloads"):
        for kind in KINDS:
            for data in EXAMPLES[kind]:
                send(kind, data)
        send("request", b"a" * (LONGEST_TOPIC_BYTES - len(f"{TOPICS.root}/request/")) + b"\n{}")
        made_up()
    questions = Questions(sender, heard_by=listener)
    questions.expect_answer(questions.ask())
    health = listener.expect(lambda each: each.topic == TOPICS.health, "health", since_s=time.monotonic())
    failed = health.values["dropped"].get("failed", 0)
    p99_ms = nearest_rank(sorted(handler_ms), 0.99)
    same = node.is_running and node.pid == pid and "Traceback" not in node.log
    return Outcome(
        len(handler_ms),
        None,
        None,
        None,
        None,
        passed=same and not failed and p99_ms < HANDLER_MS,
        figure=f"{len(handler_ms)} messages: {failed} uncaught, handler {p99_ms:.2f} ms at the 99th percentile",
    )


def _message(kind: str, data: bytes, number: int) -> tuple[str, bytes, str | None]:
    """Topic, payload and response topic that the targets of tests/fuzz read out of `data`."""
    if kind == "ask":
        reply_topic, _, payload = data.rpartition(b"\xff\n")
        return TOPICS.ask, payload, reply_topic.decode("utf-8", "replace") or None
    if kind == "set":
        return TOPICS.setting(SETTING_KEYS[number % len(SETTING_KEYS)]), data, None
    name, _, payload = data.partition(b"\n")
    return f"{TOPICS.root}/request/{name.decode('utf-8', 'replace')}", payload, None


def _may_be_sent(topic: str | None) -> bool:
    """Whether a broker takes such a topic; others end the connection of the sender (MQTT 5.0, 1.5.4 and 4.7)."""
    if not topic or len(topic.encode()) > LONGEST_TOPIC_BYTES:
        return False
    return not any(char in "+#" or unicodedata.category(char) in {"Cc", "Cn"} for char in topic)
