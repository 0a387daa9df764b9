"""Every question that is put to the service is answered once, where it asks, or told why not."""

from __future__ import annotations

import subprocess
import sys

from tests.broker import Broker, Watcher, body, broker, needs_mosquitto, wait_until
from tests.service.harness import (
    ANSWER,
    ASK,
    NODE,
    ROOT,
    Start,
    answer_to,
    answers,
    ask,
    camera_online,
    ready,
    start,
    watcher,
)
from tests.test_requests import HOSTILE

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto


def test_an_mqtt_5_question_is_answered_where_it_asks(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The answer goes to the response topic with the correlation data, byte for byte, and nowhere else."""
    start(broker.port)
    ready(watcher)
    correlation = bytes(range(0, 256, 4))
    watcher.publish(ASK, "What is it?", response_topic="reply/me", correlation=correlation)
    message = watcher.expect(lambda message: message.topic == "reply/me", "the answer")
    assert message.properties is not None
    assert message.properties.json()["CorrelationData"] == correlation.hex()  # type: ignore[no-untyped-call]
    answer = body(message)
    assert (answer["status"], answer["type"], answer["text"]) == ("ok", "answer", "stand-in ask")
    assert (answer["question"], answer["camera"], answer["error"]) == ("What is it?", "door", None)
    assert 0 < answer["age_ms"] < 5000
    assert watcher.count(ANSWER) == 0


def test_an_mqtt_3_client_finds_its_answer_by_id(broker: Broker, start: Start, watcher: Watcher) -> None:
    """MQTT 3.1.1 has no response topic: the id does, on both sides of the broker."""
    start(broker.port)
    ready(watcher)
    old = Watcher(broker.port, ANSWER, protocol="3.1.1")
    ask(old, "q7", more=', "choices": ["red", "blue"], "camera": "door"')
    assert answer_to(old, "q7")["text"] == "blue"
    ask(old, "q8", more=', "region": [0, 0, 0.5, 1]')
    assert answer_to(old, "q8")["text"] == "region [0.0, 0.0, 0.5, 1.0]"
    old.publish(ASK, "just words")
    plain = old.expect(lambda message: body(message)["question"] == "just words", "the answer to plain words")
    assert body(plain)["id"]
    old.close()


def test_a_service_that_speaks_mqtt_3_answers_by_id(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The same with the service on 3.1.1."""
    service = start(broker.port)
    service.stop()
    config = service.folder / "config.toml"
    text = config.read_text(encoding="utf-8").replace("[mqtt]", '[mqtt]\nprotocol = "3.1.1"')
    config.write_text(text, encoding="utf-8")
    with service.log_path.open("ab") as log:
        command = [sys.executable, "-m", "tests.service_process", "--config", str(config)]
        service.process = subprocess.Popen(command, stderr=log, cwd=ROOT)
    ready(watcher)
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"


def test_hostile_payloads_get_an_error_and_the_next_question_an_answer(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """Every payload that breaks a naive handler, over the wire: one bad_request each, then business as usual."""
    service = start(broker.port)
    ready(watcher)
    for number, payload in enumerate(HOSTILE.values()):
        if len(payload) < 60_000:  # larger ones never reach an MQTT 5 client: the broker keeps them
            watcher.publish(ASK, payload, response_topic=f"reply/{number}")
            message = watcher.expect(lambda message: message.topic == f"reply/{number}", f"a reply to {payload[:40]!r}")  # noqa: B023
            assert body(message)["error"]["code"] == "bad_request", payload[:40]
        else:
            watcher.publish(ASK, payload)
    ask(watcher, "good")
    assert answer_to(watcher, "good")["status"] == "ok"
    assert service.process.poll() is None
    assert "Traceback" not in service.log
    assert service.starts() == 1


def test_a_forbidden_response_topic_is_told_on_answer_and_never_used(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """A stranger cannot make this node command another, or itself."""
    start(broker.port)
    ready(watcher)
    for number, topic in enumerate(["edge_app/other/ask", f"{NODE}/pause/set", "$SYS/x", "elsewhere/me"]):
        watcher.publish(ASK, f'{{"id": "bad{number}", "question": "what"}}', response_topic=topic, correlation=b"c")
        answer = answer_to(watcher, f"bad{number}")
        assert answer["error"]["code"] == "bad_request"
        assert "response topic" in answer["error"]["message"]
    watcher.publish(ASK, '{"id": "long", "question": "what"}', correlation=b"x" * 65)
    assert "65 bytes" in answer_to(watcher, "long")["error"]["message"]
    assert watcher.count("edge_app/other/ask") == 0


def test_a_retained_question_is_ignored(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The broker would ask it again at every connect."""
    watcher.publish(ASK, '{"id": "old", "question": "what"}', retain=True)
    start(broker.port)
    ready(watcher)
    ask(watcher, "new")
    answer_to(watcher, "new")
    health = watcher.expect(
        lambda message: message.topic == f"{NODE}/health" and body(message)["dropped"].get("retained"), "the count"
    )
    assert body(health)["dropped"]["retained"] == 1
    assert answers(watcher, "old") == 0


def test_a_question_sent_twice_is_answered_once(broker: Broker, start: Start, watcher: Watcher) -> None:
    """A repetition while the first is pending is the same question; after the answer, the id may serve again."""
    start(broker.port, "[caption]\nenabled = false\n")
    camera_online(watcher)
    for _ in range(3):
        ask(watcher, "q1", "slow 0.5")
    ask(watcher, "q2")
    answer_to(watcher, "q2")
    assert answers(watcher, "q1") == 1
    ask(watcher, "q1", "slow 0.5")
    wait_until(lambda: answers(watcher, "q1") == 2, "the second answer")


def test_questions_beyond_the_queue_are_told_busy(broker: Broker, start: Start, watcher: Watcher) -> None:
    """One in the model, one waiting, and the third knows at once."""
    service = start(broker.port, "[ask]\nqueue_length = 1\n")
    ready(watcher)
    ask(watcher, "q1", "slow 1")
    wait_until(lambda: service.begun("slow 1"), "the first question to begin")
    ask(watcher, "q2")
    ask(watcher, "q3")
    assert answer_to(watcher, "q3")["error"]["code"] == "busy"
    assert answers(watcher, "q1") == 0
    assert [answer_to(watcher, name)["status"] for name in ("q1", "q2")] == ["ok", "ok"]
