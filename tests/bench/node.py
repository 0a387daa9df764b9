"""A real node to measure: the service as it is installed, its broker, its cameras, and a client that listens."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from paho.mqtt.client import MQTTMessage

from edge_app.demo.broker import LOOPBACK, Broker
from edge_app.demo.service import Service, running_service
from edge_app.mqtt.topics import Topics
from tests.bench.process import BenchError
from tests.broker import Watcher
from tests.toml import toml

NODE_ID = "bench"
TOPICS = Topics("edge_app", NODE_ID)
SETTLE_S = 1.0  # after a pause or its end, until nothing of the time before is under way
FIRST_CAPTION_S = 180.0
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Received:
    """A result as a subscriber has it.

    Attributes:
        arrived_s: when, by the monotonic clock.
        result: the object of docs/mqtt.md.
    """

    arrived_s: float
    result: dict[str, Any]

    @property
    def inference_ms(self) -> float:
        """What the model itself took."""
        return float(self.result["timing_ms"]["total"])

    @property
    def begun_unix_s(self) -> float:
        """When the inference began: all between its end and the making of the result counts as waiting before it."""
        return unix_s(self.result["ts"]) - self.inference_ms / 1000

    @property
    def age_on_arrival_ms(self) -> float:
        """From the capture of the frame until the subscriber had the result; published times are whole ms."""
        return (self.arrived_s + time.time() - time.monotonic() - unix_s(self.result["frame_ts"])) * 1000


class Node:
    """A running service that has given its first caption of every camera."""

    def __init__(self, service: Service, watcher: Watcher, cameras: Sequence[str], started_s: float) -> None:
        """Wait for the first captions; raises BenchError when they do not come."""
        self.pid = service.process.pid
        self.watcher = watcher
        self.cameras = tuple(cameras)
        firsts = [self._first_caption(service, camera) for camera in cameras]
        self.start_to_first_caption_s = min(firsts) - started_s

    def _first_caption(self, service: Service, camera: str) -> float:
        topic = TOPICS.caption(camera)
        deadline_s = time.monotonic() + FIRST_CAPTION_S
        while time.monotonic() < deadline_s and service.process.poll() is None:
            for message in list(self.watcher.messages):
                if message.topic == topic:
                    return float(message.timestamp)
            time.sleep(0.01)
        raise BenchError(f"The service gave no caption of {camera}. Its log ends with:\n{service.last_words()}")

    def pause(self, paused: bool) -> None:
        """Stop or resume captions, and wait until that has come about."""
        self.watcher.publish(TOPICS.setting("pause"), "ON" if paused else "OFF")
        time.sleep(SETTLE_S)

    def hold_cameras(self, held: bool) -> None:
        """Stop the processes of the cameras, or let them go on."""
        for pid in self.children("edge_app.camera.worker"):
            os.kill(pid, signal.SIGSTOP if held else signal.SIGCONT)
        time.sleep(SETTLE_S)

    def ask(self, question: str, *, id: str, camera: str) -> float:
        """Publish a question without waiting; the Unix time at which that began."""
        now_unix_s = time.time()
        values = {"id": id, "question": question, "camera": camera, "timeout_s": 60}
        self.watcher.client.publish(TOPICS.ask, json.dumps(values), qos=1)
        return now_unix_s

    def captions(self, since_s: float) -> list[Received]:
        """All captions that came since a moment of the monotonic clock, in order."""
        topics = {TOPICS.caption(camera) for camera in self.cameras}
        return _results(self.watcher.messages, topics, since_s)

    def answers(self, since_s: float) -> list[Received]:
        """All answers that came since then."""
        return _results(self.watcher.messages, {TOPICS.answer}, since_s)

    def cpu_s(self) -> float:
        """Processor time of the service's own process so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S  # utime, stime of proc(5)

    def memory_mb(self) -> dict[str, float]:
        """Resident memory of the service's own process and of the model's, in 10^6 bytes."""
        (model,) = self.children("edge_app.model.worker")
        return {"service": _resident_mb(self.pid), "model": _resident_mb(model)}

    def children(self, module: str) -> list[int]:
        """The processes of the service that run `module`."""
        pids = [
            int(pid)
            for task in Path(f"/proc/{self.pid}/task").iterdir()
            for pid in (task / "children").read_text(encoding="ascii").split()
        ]
        return [pid for pid in pids if module in Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")]


def captions_per_s(captions: Sequence[Received]) -> float:
    """The rate of captions that followed each other; raises BenchError when there are too few to tell."""
    if len(captions) < 2:
        raise BenchError(f"{len(captions)} captions came in a stretch, which is no rate; give more --seconds.")
    return (len(captions) - 1) / (captions[-1].arrived_s - captions[0].arrived_s)


def _resident_mb(pid: int) -> float:
    rss_kib = next(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        if line.startswith("Rss:")
    )
    return round(rss_kib * 1024 / 1e6, 1)


def _results(messages: Sequence[MQTTMessage], topics: set[str], since_s: float) -> list[Received]:
    return [
        Received(float(message.timestamp), json.loads(message.payload))
        for message in list(messages)
        if message.topic in topics and message.timestamp >= since_s
    ]


@contextmanager
def running_node(
    folder: Path, broker: Broker, bundle: Path, videos: Sequence[Path], *, threads: int, fps: int
) -> Iterator[Node]:
    """Start a node with one camera a video, captioning without an interval; BenchError when it does not come up."""
    cameras = [f"camera{number}" for number in range(len(videos))]
    config = folder / "config.toml"
    sources = {name: f"file:{video}" for name, video in zip(cameras, videos, strict=True)}
    model = {"bundles": [str(bundle)], "device": "CPU", "threads": threads, "cache_dir": str(folder / "cache")}
    config.write_text(_toml(config.parent, model, sources, port=broker.port, fps=fps), encoding="utf-8")
    watcher = Watcher(broker.port, f"{TOPICS.root}/camera/+/caption", TOPICS.answer)
    # Or a question would wait for the acknowledgement of what this client sent before, 40 ms that are its own.
    sock = watcher.client.socket()
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        started_s = time.monotonic()
        with running_service(config) as service:
            yield Node(service, watcher, cameras, started_s)
    finally:
        for camera in cameras:  # the next node's first caption must not be this one's last
            watcher.publish(TOPICS.caption(camera), b"", retain=True)
        watcher.close()


def _toml(folder: Path, model: dict[str, object], sources: dict[str, str], *, port: int, fps: int) -> str:
    """The configuration of a node; `sources`: camera -> where its frames come from."""
    tables: list[tuple[str, dict[str, object]]] = [
        ("[node]", {"id": NODE_ID}),
        ("[mqtt]", {"host": LOOPBACK, "port": port}),
        ("[model]", model),
        ("[caption]", {"interval_s": 0}),
        ("[store]", {"dir": str(folder / "state")}),
        ("[ask]", {"queue_length": 256}),
    ]
    for name, source in sources.items():
        # A camera that is held must not be taken for one that hangs.
        tables.append(("[[camera]]", {"name": name, "source": source, "fps": fps, "stall_s": 600}))
    return toml(tables)


def unix_s(rfc3339: str) -> float:
    """A published time as seconds since 1970."""
    return datetime.fromisoformat(rfc3339).timestamp()
