"""The service as a process of its system: small, in touch with systemd, ended in any phase with nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.broker import PATIENCE_S, Broker, Watcher, broker, needs_mosquitto, wait_until
from tests.service.harness import ANSWER, NODE, Start, answer_to, answers, ask, ready, start, watcher

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto
STOP_LIMIT_S = 5
PHASES = ["just started", "model starting", "idle", "question in the model", "broker away", "camera broken"]


def test_the_service_process_stays_small(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Neither OpenCV nor OpenVINO is mapped into it; its threads are few and named."""
    service = start(broker.port)
    ready(watcher)
    maps = Path(f"/proc/{service.process.pid}/maps").read_text(encoding="utf-8")
    assert not [name for name in ("cv2", "openvino", "torch", "tokenizers") if name in maps]
    service.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "\nthreads " in service.log, "the names of the threads")
    names = next(line for line in service.log.splitlines() if line.startswith("threads "))
    assert names.split()[1:] == ["main", "model", "mqtt"]


def handled(watcher: Watcher) -> None:
    """Wait until the service has handled everything that was sent before."""
    seen = watcher.count("reply/handled")
    watcher.publish(f"{NODE}/request/info", "", response_topic="reply/handled")
    wait_until(lambda: watcher.count("reply/handled") > seen, "the response to the last of the messages")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_in_any_phase(
    broker: Broker, start: Start, watcher: Watcher, phase: str, number: int
) -> None:
    """Exit code 0 within 5 s, `offline` published, every question answered, no process left behind."""
    how = {"model starting": {"start": "hang-start"}, "camera broken": {"source": "file:/no/such/file.png"}}
    service = start(broker.port, **how.get(phase, {}))
    if phase == "just started":
        wait_until(lambda: "service starting" in service.log, "the first line")
    elif phase in how:
        watcher.expect(lambda message: message.payload == b"online", "online")
        wait_until(service.starts, "the model's process")
    else:
        ready(watcher)
    if phase == "question in the model":
        ask(watcher, "q1", "hang")
        ask(watcher, "q2")
        wait_until(lambda: service.begun("hang"), "the question to begin")
        handled(watcher)
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    pids = [int(pid) for pid in children.read_text(encoding="utf-8").split()] if children.exists() else []
    if phase == "broker away":
        broker.stop()
        wait_until(lambda: "disconnected" in service.log, "the loss")
    code, took_s = service.stop(number)
    assert (code, took_s < STOP_LIMIT_S) == (0, True), (code, took_s, service.log)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the children to end")
    if phase not in ("just started", "broker away"):
        last = watcher.expect(
            lambda message: message.topic == f"{NODE}/availability" and message.payload == b"offline", "offline"
        )
        if phase == "question in the model":
            for request_id in ("q1", "q2"):
                answer = answer_to(watcher, request_id)
                assert answer["error"]["code"] == "model_unavailable"
                assert "shutting down" in answer["error"]["message"]
                assert answers(watcher, request_id) == 1
            order = [message for message in watcher.messages if message.topic == ANSWER or message is last]
            assert order[-1] is last, "the answers come before offline"


def test_a_question_that_waits_for_its_camera_is_answered_before_the_end(
    broker: Broker, start: Start, watcher: Watcher
) -> None:
    """The camera takes connections and says nothing yet: its question is in no queue, and is owed an answer, too."""
    with socket.create_server(("127.0.0.1", 0)) as camera:
        service = start(broker.port, source=f"http://127.0.0.1:{camera.getsockname()[1]}/")
        watcher.expect(lambda message: message.payload == b"online", "online")
        ask(watcher, "q1")
        handled(watcher)
        assert answers(watcher, "q1") == 0
        service.stop()
    assert answer_to(watcher, "q1")["error"]["code"] == "model_unavailable"


def test_a_killed_service_is_reported_offline_by_its_will(broker: Broker, start: Start, watcher: Watcher) -> None:
    """kill -9 leaves no time to say goodbye; the broker does, and no child survives."""
    service = start(broker.port)
    ready(watcher)
    model_pid = service.model_pid()
    service.process.kill()
    service.process.wait()
    watcher.expect(
        lambda message: message.topic == f"{NODE}/availability" and message.payload == b"offline", "the will"
    )
    wait_until(lambda: not Path(f"/proc/{model_pid}").exists(), "the model's process to die with its parent")


def test_systemd_is_told_and_the_watchdog_fed(broker: Broker, start: Start, watcher: Watcher, tmp_path: Path) -> None:
    """READY when the children are started, WATCHDOG in time, STATUS in one line, STOPPING at the end."""
    address = f"\0edge-app-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(PATIENCE_S)
        service = start(broker.port, environ={"NOTIFY_SOCKET": f"@{address[1:]}", "WATCHDOG_USEC": "400000"})
        told: list[str] = []

        def until(words: str) -> None:
            while not any(words in line for line in told):
                told.extend(systemd.recv(4096).decode().splitlines())

        until("READY=1")
        until("STATUS=1 of 1 cameras online, model ready, broker connected")
        told.clear()
        until("WATCHDOG=1")
        service.process.send_signal(signal.SIGTERM)
        until("STOPPING=1")
