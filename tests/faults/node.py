"""The node under test: the real service as a process that may be killed, stopped and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any, Literal

import psutil

from edge_app.demo.service import bundle_path
from edge_app.mqtt.topics import Topics
from tests.broker import PATIENCE_S, wait_until
from tests.processes import ROOT, running
from tests.toml import toml

NODE_ID, CAMERA = "kitchen", "door"
TOPICS = Topics("edge_app", NODE_ID)
OUTPUT = ("availability", "info", "health", "answer", "event", "camera/#", "response/#", "+/state")
ALL_TOPICS = (*(f"{TOPICS.root}/{topic}" for topic in OUTPUT), "reply/#")  # what the node says, not what it is asked
Model = Literal["stand-in", "demo"]
Settings = Mapping[str, Mapping[str, object]]


class Node:
    """A service with its configuration, state folder and logs in `folder`; `start` may be called again after its end.

    With the model `stand-in` an inference takes no time and its questions can make it misbehave
    (tests/standin_worker.py); `demo` is `edge-app run` with the shipped bundle.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        settings: Settings,
        *,
        model: Model = "stand-in",
        environ: Mapping[str, str] | None = None,
        state: Path | None = None,
    ) -> None:
        self.folder, self.port, self.model = folder, port, model
        self.state = state or folder / "state"
        self.state.mkdir(exist_ok=True)
        self.config = folder / "config.toml"
        self.environ: dict[str, Any] = {"STATE_DIRECTORY": str(self.state), **(environ or {})}
        self.process: Popen[str] | None = None
        self.starts = 0
        self._life = ExitStack()
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Write the configuration anew: the defaults of the suite, and over them `settings`, a table a section."""
        bundle = self.folder if self.model == "stand-in" else bundle_path()
        tables: dict[str, dict[str, object]] = {
            "node": {"id": NODE_ID},
            "mqtt": {"host": "127.0.0.1", "port": self.port},
            "model": {"bundles": [str(bundle)], "device": "CPU"},
            "caption": {"interval_s": 0.5},
            "ask": {"timeout_s": 30},
            "health": {"interval_s": 1},
            "camera": {"name": CAMERA, "source": "scene:", "width_px": 320, "height_px": 240, "fps": 10},
        }
        for section, values in settings.items():
            tables.setdefault(section, {}).update(values)
        headers = {"camera": "[[camera]]"}
        self.config.write_text(
            toml((headers.get(section, f"[{section}]"), values) for section, values in tables.items()), "utf-8"
        )

    @property
    def pid(self) -> int:
        """The process id of the service itself."""
        assert self.process is not None, "the node has not been started"
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether the service itself has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def log_path(self) -> Path:
        """The log of the newest start."""
        return self.folder / f"service{self.starts}.log"

    @property
    def log(self) -> str:
        """What the service has said since its newest start."""
        return self.log_path.read_text("utf-8", errors="replace") if self.log_path.exists() else ""

    def expect_log(self, words: str, times: int = 1, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the log of the newest start has `words` so many times."""
        wait_until(lambda: self.log.count(words) >= times, f"{words!r} in the log, {times} times", timeout_s)

    def start(self) -> None:
        """Start the process, and return at once."""
        assert not self.is_running, "the node runs already"
        self._life.close()
        self.starts += 1
        program = ("tests.service_process",) if self.model == "stand-in" else ("edge_app", "run")
        command = ("-m", *program, "--config", self.config)
        self.process = self._life.enter_context(running(*command, path=ROOT, log=self.log_path, **self.environ))

    def kill(self) -> None:
        """kill -9 the service; its children end with it."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: int) -> None:
        """Send a signal to the service itself."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for the end of the service; the exit code."""
        assert self.process is not None, "the node has not been started"
        return self.process.wait(timeout_s)

    def children(self, module: str) -> list[int]:
        """The processes of the service that run `module`, as `edge_app.camera.worker`."""
        children = psutil.Process(self.pid).children()
        return [child.pid for child in children if module in " ".join(child.cmdline())]

    def peak_mib(self, *, begin: bool = False) -> float:
        """The most resident memory of the service itself, in MiB, since the last call with `begin` (proc(5))."""
        if begin:
            Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))

    def resources(self) -> dict[str, float]:
        """`{"service_mib", "children_mib", "descriptors", "threads"}`; the last two of all of them together."""
        service = psutil.Process(self.pid)
        children = service.children(recursive=True)
        family = [service, *children]
        return {
            "service_mib": service.memory_info().rss / 2**20,
            "children_mib": sum(each.memory_info().rss for each in children) / 2**20,
            "descriptors": sum(each.num_fds() for each in family),
            "threads": sum(each.num_threads() for each in family),
        }

    def close(self) -> None:
        """Kill what still runs."""
        self._life.close()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
