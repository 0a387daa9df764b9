"""What survives a killed service, a broker that is away, and a store that is full: the promise of docs/mqtt.md."""

from __future__ import annotations

from pathlib import Path

from tests.broker import Broker, Watcher, body, broker, needs_mosquitto, wait_until
from tests.service.harness import NODE, ServiceProcess, Start, answer_to, answers, ask, ready, start, watcher

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto


HISTORY = f"{NODE}/camera/door/history"


def again(service: ServiceProcess, start: Start, port: int, settings: str = "") -> ServiceProcess:
    """Another process on the store of one that has been killed."""
    return start(port, settings, state=service.folder / "state")


def boots(watcher: Watcher) -> set[str]:
    """Which processes the history is from: a msg_id begins with the name of one."""
    return {body(message)["msg_id"].partition("-")[0] for message in watcher.messages if message.topic == HISTORY}


def test_a_question_is_answered_by_the_next_process_if_the_first_is_killed(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """kill -9 while the model works on it and while another waits: one answer each, after the restart."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 1", more=', "timeout_s": 60')
    wait_until(lambda: service.begun("slow 1"), "the question to begin")
    ask(watcher, "q2", more=', "timeout_s": 60')
    watcher.publish(f"{NODE}/request/info", "", response_topic="reply/handled")
    wait_until(lambda: watcher.count("reply/handled"), "the second question to be stored")
    service.process.kill()
    service.process.wait()
    again(service, start, broker.port)
    assert [answer_to(watcher, name)["status"] for name in ("q1", "q2")] == ["ok", "ok"]
    assert [answers(watcher, name) for name in ("q1", "q2")] == [1, 1]


def test_a_question_that_was_asked_while_the_node_was_gone_waits_at_the_broker(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """The session outlives the connection: who asks in the second of a restart is not left without an answer."""
    service = start(broker.port)
    ready(watcher)
    service.process.kill()
    service.process.wait()
    ask(watcher, "q1")
    again(service, start, broker.port)
    answer_to(watcher, "q1")
    assert answers(watcher, "q1") == 1


def test_what_a_broker_never_took_is_sent_by_the_next_process(broker: Broker, start: Start, watcher: Watcher) -> None:
    """An answer and captions made while the broker was away, killed, started again: all arrive, none twice."""
    settings = "[caption]\ninterval_s = 0.1\nhistory = true\n"
    service = start(broker.port, settings)
    ready(watcher)
    ask(watcher, "q1", "slow 1", more=', "timeout_s": 60')
    wait_until(lambda: service.begun("slow 1"), "the question to begin")
    broker.stop()
    wait_until(lambda: "answered camera=door id='q1'" in service.log, "the answer")
    # The line of a caption is logged before the commit that ends its turn; with the next line it is on the disk.
    wait_until(lambda: service.log.rpartition("answered camera")[2].count("captioned") >= 2, "two captions after it")
    service.process.kill()
    service.process.wait()
    broker.start()
    watcher.wait_subscribed()
    known = {body(message)["msg_id"] for message in watcher.messages if message.topic == HISTORY}
    restarted = again(service, start, broker.port, settings)
    answer_to(watcher, "q1")
    wait_until(lambda: "captioned camera=door" in restarted.log, "a caption of the new process")
    wait_until(lambda: len(boots(watcher) - {name.partition("-")[0] for name in known}) == 1, "its history")
    names = [body(message)["msg_id"] for message in watcher.messages if message.topic == HISTORY]
    frames = [body(message)["frame_id"] for message in watcher.messages if message.topic == HISTORY]
    first_run = [name for name in names if name.partition("-")[0] == names[0].partition("-")[0]]
    assert len(set(first_run)) == len(first_run) > len(known)
    assert frames[: len(first_run)] == sorted(frames[: len(first_run)])
    assert answers(watcher, "q1") == 1


def test_a_spoilt_store_is_told_and_stops_nothing(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """Random bytes in place of the database: captions and answers go on, `health` says what happened."""
    folder = tmp_path / "spoilt"
    folder.mkdir()
    (folder / "messages.db").write_bytes(b"\xa5" * 20_000)
    start(broker.port, state=folder)
    ready(watcher)
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"
    health = body(watcher.expect(lambda message: message.topic == f"{NODE}/health", "health"))
    assert (health["store"]["mode"], health["store"]["spoilt"]) == ("disk", 1)
    assert (folder / "messages.db.spoilt-1").exists()
