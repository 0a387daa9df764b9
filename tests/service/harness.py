"""The service as a process with the stand-in model, and what tests say to it and hear from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.broker import PATIENCE_S, Broker, Watcher, body
from tests.standin_worker import lines

ROOT = Path(__file__).parents[2]
NODE = "edge_app/kitchen"
ASK, ANSWER = f"{NODE}/ask", f"{NODE}/answer"


class ServiceProcess:
    """The service under test; `stop` ends the process that was started."""

    def __init__(
        self,
        folder: Path,
        port: int,
        settings: str = "",
        *,
        start: str = "",
        source: str = "scene:",
        environ: dict[str, str] | None = None,
        state: Path | None = None,
    ) -> None:
        self.folder = folder
        bundles = ", ".join(f'"{path}"' for path in (folder, start) if path)
        config = folder / "config.toml"
        config.write_text(
            f"""
            [node]
            id = "kitchen"
            [mqtt]
            host = "127.0.0.1"
            port = {port}
            [model]
            bundles = [{bundles}]
            request_timeout_s = 1.5
            [[camera]]
            name = "door"
            source = "{source}"
            width_px = 320
            height_px = 240
            fps = 10
            [health]
            interval_s = 1
            [store]
            dir = "{state or folder / "state"}"
            {settings}
            """,
            encoding="utf-8",
        )
        self.log_path = folder / "service.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.service_process", "--config", config],
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(environ or {})},
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def model_pid(self) -> int:
        return int(lines(self.folder / "starts")[-1])

    def starts(self) -> int:
        return len(lines(self.folder / "starts"))

    def begun(self, question: str) -> bool:
        return question in lines(self.folder / "begun")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; exit code and seconds until the end."""
        began_s = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        return code, time.monotonic() - began_s


Start = Callable[..., ServiceProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services that end with the test."""
    running: list[ServiceProcess] = []

    def begin(port: int, settings: str = "", **more: Any) -> ServiceProcess:
        folder = tmp_path / f"service{len(running)}"
        folder.mkdir()
        running.append(ServiceProcess(folder, port, settings, **more))
        return running[-1]

    yield begin
    for service in running:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


@pytest.fixture
def watcher(broker: Broker) -> Iterator[Watcher]:
    """An independent client that sees all of the node and all replies."""
    client = Watcher(broker.port, f"{NODE}/#", "reply/#", "edge_app/other/#")
    yield client
    client.close()


def ready(watcher: Watcher) -> None:
    """Wait until model and camera both work, which the first caption shows."""
    watcher.expect(lambda message: message.topic == f"{NODE}/camera/door/caption", "the first caption")


def camera_online(watcher: Watcher) -> None:
    """Wait until the camera delivers frames; the model may still be starting."""
    topic = f"{NODE}/camera/door/status"
    watcher.expect(lambda message: message.topic == topic and message.payload == b"online", "the camera")


def answer_to(watcher: Watcher, request_id: str) -> dict[str, Any]:
    message = watcher.expect(
        lambda message: message.topic == ANSWER and body(message)["id"] == request_id, f"the answer to {request_id}"
    )
    values: dict[str, Any] = body(message)
    return values


def ask(watcher: Watcher, request_id: str, question: str = "what is it", more: str = "") -> None:
    watcher.publish(ASK, f'{{"id": "{request_id}", "question": "{question}"{more}}}')


def answers(watcher: Watcher, request_id: str) -> int:
    return sum(message.topic == ANSWER and body(message)["id"] == request_id for message in watcher.messages)
