"""The broker, the camera or the display fails: the service goes on, and tells who asks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.broker import Broker, Watcher, broker, needs_mosquitto, wait_until
from tests.service.harness import NODE, Start, answer_to, ask, ready, start, watcher

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto


def test_a_broker_restart_loses_no_answer(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The broker goes while the model thinks; when it is back: online, the state, and the answer."""
    service = start(broker.port)
    ready(watcher)
    ask(watcher, "q1", "slow 1")
    wait_until(lambda: service.begun("slow 1"), "the question to begin")
    broker.stop()
    wait_until(lambda: "answered camera=door id='q1'" in service.log, "the model to answer")
    watcher.messages.clear()
    # The watcher has to be back first: the broker forgets an answer that nobody is there to hear.
    service.process.send_signal(signal.SIGSTOP)
    broker.start()
    watcher.wait_subscribed()
    service.process.send_signal(signal.SIGCONT)
    watcher.expect(lambda message: message.topic == f"{NODE}/availability" and message.payload == b"online", "online")
    assert answer_to(watcher, "q1")["status"] == "ok"
    watcher.expect(lambda message: message.topic == f"{NODE}/info", "the state")
    ask(watcher, "q2")
    assert answer_to(watcher, "q2")["status"] == "ok"


def test_a_camera_without_frames_is_told(broker: Broker, start: Start, watcher: Watcher) -> None:
    """No frame, no answer; an unknown camera is the asker's fault."""
    start(broker.port, source="file:/no/such/picture.png")
    watcher.expect(
        lambda message: message.topic == f"{NODE}/health" and b"picture.png" in message.payload,
        "the reason in the health message",
    )
    ask(watcher, "q1")
    error = answer_to(watcher, "q1")["error"]
    assert (error["code"], "picture.png" in error["message"]) == ("camera_unavailable", True)
    ask(watcher, "q2", more=', "camera": "window"')
    error = answer_to(watcher, "q2")["error"]
    assert (error["code"], "'window'" in error["message"]) == ("bad_request", True)


def test_a_question_waits_for_a_camera_that_is_starting(broker: Broker, start: Start, watcher: Watcher) -> None:
    """Whoever sees `online` may ask, although no frame has come yet; a broker may have kept a question, too."""
    start(broker.port)
    watcher.expect(lambda message: message.topic == f"{NODE}/availability" and message.payload == b"online", "online")
    ask(watcher, "q1")
    ask(watcher, "q2", more=', "camera": "door"')
    assert [answer_to(watcher, id)["status"] for id in ("q1", "q2")] == ["ok", "ok"]
    ask(watcher, "q3", more=', "camera": "window"')
    assert answer_to(watcher, "q3")["error"]["code"] == "bad_request"


def test_a_display_that_is_asked_for_shows_the_overlay_and_its_death_touches_nothing(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """The picture file appears, and again after kill -9 of the display's process; the service goes on."""
    picture = tmp_path / "overlay.png"
    service = start(broker.port, f'[display]\nbackend = "file"\npath = "{picture}"\n')
    ready(watcher)
    wait_until(picture.exists, "the picture")
    os.kill(child_running(service.process.pid, b"edge_app.display"), signal.SIGKILL)
    picture.unlink()
    wait_until(picture.exists, "the picture of the next process")
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"
    assert service.stop()[0] == 0


def child_running(parent_pid: int, module: bytes) -> int:
    """The child of a process that runs a module."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if parent == parent_pid and module in arguments:
            return int(entry.name)
    raise AssertionError(f"process {parent_pid} has no child that runs {module.decode()}")
