"""M13: payloads, topics and reply addresses that have broken naive handlers, and many more made up by hypothesis."""

from __future__ import annotations

import contextlib
import json
import time

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edge_app.errors import BadRequestError
from edge_app.health import nearest_rank
from edge_app.mqtt.requests import Inbound, Rules, parse_command, parse_question, parse_setting
from edge_app.mqtt.topics import SETTING_KEYS
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.node import TOPICS
from tests.faults.questions import Questions
from tests.test_requests import HOSTILE

RULES = Rules(TOPICS, ("reply/",), timeout_s=10, max_timeout_s=60, max_question_chars=256)
HANDLER_MS = 5.0
LONGEST_TOPIC_BYTES = 65_535
IN_FLIGHT = 200  # messages that the sender may be ahead of the broker
LAWFUL = {None, "reply/me", "$SYS/broker", "edge_app/other/ask", TOPICS.ask}  # others a client could not even send
REPLY_TOPICS = (None, "reply/me", "$SYS/broker", "edge_app/other/ask", TOPICS.ask, "reply/+", "reply/#", "")

_keys = st.sampled_from(["id", "question", "camera", "choices", "region", "timeout_s", "transaction", "x"])
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(_keys, inner), max_leaves=12
)
_objects = st.dictionaries(_keys, _values, max_size=6).map(lambda values: json.dumps(values).encode())
_cut = st.tuples(_objects, st.integers(0, 60)).map(lambda pair: pair[0][: -pair[1] or None])
PAYLOADS = st.one_of(
    _objects,
    _cut,
    st.binary(max_size=400),
    st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
TARGETS = ("ask", *(f"{key}/set" for key in SETTING_KEYS), "request/info", "request/caption", "request/x\u202e")


@fault("M13", "hostile payloads", short=2000, long=10_000, alone=True)
def hostile_payloads(harness: Harness, times: int) -> Outcome:
    """None of them is an exception, each is handled in 5 ms, and the node goes on as if nothing had been.

    All go to a live node. What the handler takes is measured here, in processor time, since the node does more at the
    same time than handle them.
    """
    broker = harness.broker(durable=False)
    listener = harness.listener(broker.port)
    node = harness.node(broker.port)
    node.start()
    until_captioned(listener)
    pid, handler_ms = node.pid, []

    def send(target: str, payload: bytes, reply_topic: str | None) -> None:
        topic = f"{TOPICS.root}/{target}"
        began_s = time.thread_time()
        _handle(Inbound(topic, payload, len(payload), False, reply_topic))
        handler_ms.append((time.thread_time() - began_s) * 1000)
        last = listener.publish(topic, payload, response_topic=reply_topic if reply_topic in LAWFUL else None)
        while len(handler_ms) % IN_FLIGHT == 0 and not listener.is_acknowledged(last):
            time.sleep(0.01)

    for payload in HOSTILE.values():
        for target in TARGETS:
            for reply_topic in REPLY_TOPICS:
                send(target, payload, reply_topic)
    longest = "request/" + "a" * (LONGEST_TOPIC_BYTES - len(f"{TOPICS.root}/request/"))
    send(longest, b"{}", None)

    @settings(
        max_examples=times,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(TARGETS), PAYLOADS, st.sampled_from(REPLY_TOPICS))
    def made_up(target: str, payload: bytes, reply_topic: str | None) -> None:
        send(target, payload, reply_topic)

    with harness.fault("hostile payloads"):
        made_up()
    questions = Questions(listener)
    questions.expect_answer(questions.ask())
    health = listener.expect(
        lambda each: each.topic == TOPICS.health, "health", since_s=time.monotonic(), timeout_s=60
    ).values
    failed = health["dropped"].get("failed", 0)
    p99_ms = nearest_rank(sorted(handler_ms), 0.99)
    same = node.is_running and node.pid == pid and "Traceback" not in node.log
    return Outcome(
        len(handler_ms),
        None,
        None,
        None,
        None,
        passed=same and not failed and p99_ms < HANDLER_MS,
        figure=f"{len(handler_ms)} payloads: {failed} uncaught, handler {p99_ms:.2f} ms at the 99th percentile",
    )


def _handle(message: Inbound) -> None:
    """What the service does with a message before it acts on it; any other exception than a refusal is a fault."""
    kind, name = TOPICS.route(message.topic)
    if kind == "ask":
        parse_question(message, RULES, lambda: "made-1")
    elif kind == "set":
        with contextlib.suppress(BadRequestError):
            parse_setting(message, name)
    elif kind == "request":
        parse_command(message, name, RULES)
