"""The model's process dies, or is not there yet: a new one answers, or the asker learns why none can."""

from __future__ import annotations

import os
import signal

import pytest

from tests.broker import Broker, Watcher, body, broker, needs_mosquitto, wait_until
from tests.service.harness import NODE, Start, answer_to, answers, ask, camera_online, ready, start, watcher

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto


def test_a_model_killed_during_a_question_still_gives_one_answer(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """kill -9 of the model's process: a new one answers, once."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 1")
    wait_until(lambda: service.begun("slow 1"), "the question to begin")
    os.kill(service.model_pid(), signal.SIGKILL)
    assert answer_to(watcher, "q1")["status"] == "ok"
    ask(watcher, "q2")
    answer_to(watcher, "q2")
    assert answers(watcher, "q1") == 1
    assert service.starts() == 2


def test_an_idle_model_that_dies_is_replaced(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Nobody has to ask for the death to be noticed."""
    service = start(broker.port, "[caption]\ninterval_s = 3600\n")
    ready(watcher)
    os.kill(service.model_pid(), signal.SIGKILL)
    wait_until(lambda: service.starts() == 2, "a new process")
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"


def test_a_question_that_kills_the_model_twice_is_given_up(broker: Broker, start: Start, watcher: Watcher) -> None:
    """One question may cost two processes, not the service."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "crash")
    answer = answer_to(watcher, "q1")
    assert answer["error"]["code"] == "model_unavailable"
    assert "SIGSEGV" in answer["error"]["message"]
    ask(watcher, "q2")
    assert answer_to(watcher, "q2")["status"] == "ok"
    assert answers(watcher, "q1") == 1
    assert service.starts() == 3


@pytest.mark.parametrize(("fault", "code"), [("refuse", "bad_request"), ("crash", "model_unavailable")])
def test_waiting_questions_go_together_and_one_bad_one_harms_no_other(
    fault: str, code: str, broker: Broker, start: Start, watcher: Watcher
) -> None:
    """Asked as one; then, because one of them is refused or kills the model, each alone: two get their answers."""
    service = start(broker.port, "[caption]\nenabled = false\n")
    camera_online(watcher)
    ask(watcher, "q1", "slow 1")
    wait_until(lambda: service.begun("slow 1"), "the first question to begin")
    for name, question in (("q2", "what"), ("q3", fault), ("q4", "how")):
        ask(watcher, name, question)
    assert answer_to(watcher, "q3")["error"]["code"] == code
    assert [answer_to(watcher, name)["status"] for name in ("q1", "q2", "q4")] == ["ok", "ok", "ok"]
    assert [answers(watcher, name) for name in ("q2", "q3", "q4")] == [1, 1, 1]
    assert service.begun(f"what + {fault} + how")


def test_a_model_that_cannot_start_is_told_at_once_with_its_reason(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """Nobody waits for a timeout to learn that the bundle is broken; `info` says it, too."""
    start(broker.port, start="fail-start")
    info = watcher.expect(
        lambda message: message.topic == f"{NODE}/info" and body(message)["model"]["state"] == "failed", "the state"
    )
    assert "bundle is broken" in body(info)["model"]["problem"]
    camera_online(watcher)
    ask(watcher, "q1")
    error = answer_to(watcher, "q1")["error"]
    assert error["code"] == "model_unavailable"
    assert "bundle is broken" in error["message"]


def test_a_question_waits_for_a_model_that_is_starting(broker: Broker, start: Start, watcher: Watcher) -> None:
    """It is answered if the model comes up within the question's limit, else told that it is starting."""
    start(broker.port, start="slow-start")
    camera_online(watcher)
    ask(watcher, "short", more=', "timeout_s": 0.1')
    ask(watcher, "long")
    error = answer_to(watcher, "short")["error"]
    assert (error["code"], "starting" in error["message"]) == ("model_unavailable", True)
    assert answer_to(watcher, "long")["status"] == "ok"
