"""The service has its placements measured when nothing is to do, and a start that takes long is told as it goes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker import Broker, Watcher, body, broker, needs_mosquitto, wait_until
from tests.faults.ready import NotifySocket
from tests.service.harness import NODE, Start, answer_to, ask, camera_online, start, watcher
from tests.standin_worker import lines

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto
PAUSED = "[caption]\nenabled = false"


def info(watcher: Watcher, state: str, **more: Any) -> dict[str, Any]:
    """The first `info` of a ready model with this state of the measurement."""
    message = watcher.expect(
        lambda message: (
            message.topic == f"{NODE}/info"
            and (model := body(message)["model"])["state"] == "ready"
            and model["measuring"]["state"] == state
            and all(model["bundles"][0]["placement"][key] == value for key, value in more.items())
        ),
        f"info: {state}, {more}",
    )
    values: dict[str, Any] = body(message)["model"]
    return values


def environ(folder: Path, behaviour: str) -> dict[str, str]:
    return {"STATE_DIRECTORY": str(folder / behaviour), "TUNER_QUIET_S": "0.3"}


def test_the_model_is_renewed_for_the_placement_that_was_found(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """`info` tells that it waits, measures, and has; the new process has what was found, and answers."""
    service = start(broker.port, PAUSED, start="measurable", environ=environ(tmp_path, "finds"))
    info(watcher, "waiting", text="GPU")
    info(watcher, "measuring")
    told = info(watcher, "none", text="CPU")
    assert "unmeasured" not in told
    wait_until(lambda: service.starts() == 2, "the second process")
    assert "restarted to take the placement that was measured as the fastest" in service.log
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"
    assert len(lines(service.folder / "tuner")) == 1


def test_a_placement_that_was_right_is_told_and_nothing_restarts(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """With when and how it was measured."""
    service = start(broker.port, PAUSED, start="measurable", environ=environ(tmp_path, "same"))
    placement = info(watcher, "none", by="measurement")["bundles"][0]["placement"]
    assert placement["measurement"]["trials"][0]["alone_ms"] == 412.5
    assert service.starts() == 1


def test_a_question_ends_the_measurement_and_is_answered(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """The process that measures is gone, that of the model is the same."""
    service = start(broker.port, PAUSED, start="measurable", environ=environ(tmp_path, "hangs"))
    camera_online(watcher)
    info(watcher, "measuring")
    wait_until(lambda: lines(service.folder / "tuner"), "the measuring process")
    ask(watcher, "q1", "slow 0.5")
    assert answer_to(watcher, "q1")["status"] == "ok"
    pid = lines(service.folder / "tuner")[0]
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "its end")
    assert service.starts() == 1
    assert "interrupted by work" in service.log


def test_a_failed_measurement_is_in_info_and_the_node_serves(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """With the reason; the next service does not repeat it."""
    service = start(broker.port, PAUSED, start="measurable", environ=environ(tmp_path, "fails"))
    assert info(watcher, "failed")["measuring"]["problem"] == "No device can run the model."
    assert json.loads((tmp_path / "fails" / "tuning.json").read_bytes())["problem"] == "No device can run the model."
    ask(watcher, "q1")
    assert answer_to(watcher, "q1")["status"] == "ok"
    assert service.starts() == 1


def test_a_stop_in_the_middle_leaves_no_process(broker: Broker, start: Start, watcher: Watcher, tmp_path: Path) -> None:
    """Nor a record that keeps the next service from measuring."""
    service = start(broker.port, PAUSED, start="measurable", environ=environ(tmp_path, "hangs"))
    info(watcher, "measuring")
    wait_until(lambda: lines(service.folder / "tuner"), "the measuring process")
    code, _ = service.stop()
    assert code == 0
    assert not Path(f"/proc/{lines(service.folder / 'tuner')[0]}").exists()
    assert not (tmp_path / "hangs" / "tuning.json").exists()


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[NotifySocket]:
    listening = NotifySocket(tmp_path)
    yield listening
    listening.close()


def test_systemd_is_told_ready_before_the_model_is_and_what_it_is_at(
    broker: Broker, start: Start, notify: NotifySocket
) -> None:
    """So a first compilation is no part of TimeoutStartSec=, however long it takes; `systemctl status` has its step."""
    began_s = time.monotonic()
    service = start(broker.port, start="staged-hang", environ={"NOTIFY_SOCKET": str(notify.path)})
    notify.ready_s(began_s)
    wait_until(
        lambda: [line for _, line in list(notify.heard) if "model starting (compiling graph 2)" in line],
        "the step in the status",
    )
    assert not [line for _, line in notify.heard if "model ready" in line]
    assert service.process.poll() is None
