"""What the model says too late, never says, refuses or garbles."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.broker import Broker, Watcher, body, broker, needs_mosquitto, wait_until
from tests.service.harness import NODE, Start, answer_to, answers, ask, ready, start, watcher

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto


def test_a_late_result_is_not_a_second_answer(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Told `timeout` while the model still works: the result that comes is nobody's, and the process lives."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 0.8", ', "timeout_s": 0.3')
    assert answer_to(watcher, "q1")["error"]["code"] == "timeout"
    ask(watcher, "q2")
    assert answer_to(watcher, "q2")["status"] == "ok"
    assert answers(watcher, "q1") == 1
    assert service.starts() == 1
    health = watcher.expect(
        lambda message: message.topic == f"{NODE}/health" and "answers" in body(message)["counts"], "the counts"
    )
    counts = body(health)["counts"]
    assert (counts["late"], counts["timeout"], counts["answers"]) == (1, 1, 1)
    assert "answered camera=door id='q1'" not in service.log


def test_a_late_refusal_is_not_a_failed_caption(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The model refuses a question that has timed out: nobody's business any more, least of all the captions'."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 0.8 refuse", ', "timeout_s": 0.3')
    assert answer_to(watcher, "q1")["error"]["code"] == "timeout"
    health = watcher.expect(lambda message: message.topic == f"{NODE}/health" and b"late" in message.payload, "health")
    assert "failed_captions" not in body(health)["counts"]
    assert "caption failed" not in service.log


def test_a_hung_model_is_killed_at_its_deadline(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The asker is told `timeout` at the question's limit; the process is replaced at its own (1.5 s)."""
    service = start(broker.port)
    ready(watcher)
    pid = service.model_pid()
    began_s = time.monotonic()
    ask(watcher, "q1", "hang", ', "timeout_s": 0.4')
    assert answer_to(watcher, "q1")["error"]["code"] == "timeout"
    assert time.monotonic() - began_s < 1.4
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the hung process to be killed")
    assert 1.4 < time.monotonic() - began_s < 3
    ask(watcher, "q2")
    assert answer_to(watcher, "q2")["status"] == "ok"
    assert answers(watcher, "q1") == 1
    assert service.starts() == 2


@pytest.mark.parametrize(
    ("question", "told"),
    [("refuse", ("bad_request", "too many tokens")), ("malformed", ("model_unavailable", "malformed result"))],
)
def test_what_the_model_refuses_or_garbles_is_an_error(
    broker: Broker, start: Start, watcher: Watcher, question: str, told: tuple[str, str]
) -> None:
    """The worker's own refusal reaches the asker; a reply against the protocol is not passed on."""
    start(broker.port)
    ready(watcher)
    ask(watcher, "q1", question)
    error = answer_to(watcher, "q1")["error"]
    assert error["code"] == told[0]
    assert told[1] in error["message"]
