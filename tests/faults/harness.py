"""What a row may use: a broker, nodes, listeners, questions, and a script of what was broken when.

After the coordinator of Azure IoT Edge's long-haul tests: numbered messages, an independent receiver, a script that
notes when each fault began and ended, and a judge (judge.py) that compares at the end.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.broker import MEMORY_ONLY, Broker
from tests.faults.listener import Listener
from tests.faults.node import ALL_TOPICS, CAMERA, TOPICS, Model, Node, Settings

# As docs/mosquitto has it: what the broker has acknowledged is on its disk a second later, at most.
DURABLE = "persistence true\npersistence_location {folder}/\nautosave_interval 1\nautosave_on_changes true"
KEPT = "kept"  # folder of what a row leaves
LOG_TAIL_LINES = 25

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spell:
    """One fault of the script, by the monotonic clock."""

    name: str
    began_s: float
    ended_s: float


class Closable(Protocol):
    """What has to be closed."""

    def close(self) -> None:
        """End it."""


class Harness:
    """Everything that a row starts ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spells: list[Spell] = []
        self.nodes: list[Node] = []
        self._parts = ExitStack()
        self._folders = 0

    def __enter__(self) -> Harness:
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    def broker(self, settings: str = "allow_anonymous true", *, durable: bool = True) -> Broker:
        """A mosquitto on a free port; `stop`, `signal`, `start` break it. A durable one keeps what it acknowledged."""
        folder = self.new_folder("broker")
        persistence = DURABLE.format(folder=folder) if durable else MEMORY_ONLY
        broker = Broker(folder, f"max_queued_messages 0\nset_tcp_nodelay true\n{settings}", persistence)
        self._parts.callback(broker.stop)
        return broker

    def node(
        self,
        port: int,
        settings: Settings | None = None,
        *,
        model: Model = "stand-in",
        environ: Mapping[str, str] | None = None,
        state: Path | None = None,
    ) -> Node:
        """A node for the broker at `port`, not started yet."""
        node = Node(self.new_folder("node"), port, settings or {}, model=model, environ=environ, state=state)
        self.nodes.append(self._parts.enter_context(node))
        return node

    def listener(self, port: int, *topics: str, name: str = "listener") -> Listener:
        """A subscriber to all that the node says, or to `topics`."""
        listener = Listener(port, *(topics or ALL_TOPICS), name=name)
        self._parts.callback(listener.close)
        return listener

    def keep(self, name: str, text: str) -> None:
        """Leave a file for whoever started the suite with `--keep`."""
        folder = self.folder / KEPT
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")

    def closing(self, part: Closable) -> None:
        """Close something else of the row's with all the rest."""
        self.at_end(part.close)

    def at_end(self, end: Callable[[], None]) -> None:
        """Do something when the row ends, the newest first."""
        self._parts.callback(end)

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """Note in the script that a fault begins, and that it has ended."""
        began_s = time.monotonic()
        log.info("fault on  %s", name)
        try:
            yield
        finally:
            self.spells.append(Spell(name, began_s, time.monotonic()))
            log.info("fault off %s after %.1f s", name, time.monotonic() - began_s)

    def new_folder(self, kind: str) -> Path:
        """An empty folder."""
        self._folders += 1
        folder = self.folder / f"{kind}{self._folders}"
        folder.mkdir()
        return folder

    def tell_logs(self) -> None:
        """Print the ends of the nodes' logs, for a row that failed."""
        for node in self.nodes:
            print(f"--- {node.log_path.name}", *node.log.splitlines()[-LOG_TAIL_LINES:], sep="\n", file=sys.stderr)


def until_captioned(listener: Listener, *, since_s: float = 0.0, timeout_s: float = 60) -> float:
    """Wait for a caption of the first camera that was made after `since_s`; when it came (monotonic)."""
    topic = TOPICS.caption(CAMERA)
    caption = listener.expect(
        lambda arrival: arrival.topic == topic and not arrival.retained,
        f"a caption of {CAMERA}",
        since_s=since_s,
        timeout_s=timeout_s,
    )
    return caption.arrived_s
