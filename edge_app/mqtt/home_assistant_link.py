"""When Home Assistant is told: at each connect, when it has started, when an entity has gone, and when it is over.

The announcement is retained, so Home Assistant finds it whenever it comes. What has been announced is also kept in a
small file: a later run that announces less, elsewhere or nothing at all has to know what is to be taken back, and
the broker is not asked, since a board needs no right to read there.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import edge_app
from edge_app.durable import replace_text
from edge_app.mqtt.home_assistant import Rule, components, discovery, fitting
from edge_app.mqtt.requests import Inbound
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics
from edge_app.settings import Config

FILE_NAME = "home_assistant.json"
GONE_KEPT = 64  # newest entities that are still told to be gone: Home Assistant may have been away when they went
JITTER_S = 5.0  # longest delay after a birth: a fleet must not answer at once

log = logging.getLogger(__name__)


class Announced(BaseModel):
    """What Home Assistant has been told, and where."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    topic: str = Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+){3,}$")  # a wildcard would be refused at each connect
    platforms: dict[str, str] = Field(default_factory=dict)
    """Of each component that was announced, those that have gone first."""


class HomeAssistant:
    """The announcement of one node. Owned by the main thread; `folder` keeps what has been announced."""

    def __init__(
        self,
        config: Config,
        topics: Topics,
        session: Session,
        folder: Path,
        *,
        delay_s: Callable[[], float] = lambda: random.uniform(0, JITTER_S),
    ) -> None:
        self._config, self._topics, self._session, self._delay_s = config.home_assistant, topics, session, delay_s
        self._cameras = [camera.name for camera in config.camera]
        self._max_question_chars = config.ask.max_question_chars
        self._topic = f"{self._config.discovery_prefix}/device/{topics.node}/config"
        self._file = _File(folder / FILE_NAME)
        self._announced = self._file.read()
        self._payload: bytes | None = None
        self._told: list[tuple[str, str, bool]] | None = None  # the rules in the payload
        self._resend_s: float | None = None  # monotonic time
        self._withdrawn: str | None = None  # the topic, until the broker has taken it back
        if self._announced and (not self._config.enabled or self._announced.topic != self._topic):
            session.set_state(self._announced.topic, b"")  # which removes the device, and the retained message
            self._withdrawn = self._announced.topic
            self._announced = None

    def announce(self, rules: Sequence[Rule] = ()) -> None:
        """Tell what this node has, and what it has no more, if that has changed; nothing unless that is enabled."""
        if not self._config.enabled:
            return
        told = [(rule.id, rule.question, rule.snapshot) for rule in rules]
        if told == self._told:
            return
        self._told = told
        whole = components(self._topics, self._cameras, rules, max_question_chars=self._max_question_chars)
        found = fitting(self._topics, whole)
        if len(found) < len(whole):
            log.warning(
                "home assistant is not told of all entities told=%d left_out=%d", len(found), len(whole) - len(found)
            )
        live = {key: component["platform"] for key, component in found.items()}
        known = self._announced.platforms if self._announced else {}
        gone = dict([(key, platform) for key, platform in known.items() if key not in live][-GONE_KEPT:])
        name = self._config.device_name or self._topics.node
        self._payload = discovery(self._topics, name, edge_app.__version__, found, gone)
        self._announced = Announced(topic=self._topic, platforms={**gone, **live})
        self._file.write(self._announced)  # before the broker has it: what it has, can be taken back
        self._session.set_state(self._topic, self._payload)

    def takes(self, message: Inbound, now_s: float) -> bool:
        """Take a message of the birth topic; False for any other. A retained one is old, and changes nothing."""
        if message.topic != self._topics.birth:
            return False
        if message.payload == b"online" and not message.retained and self._resend_s is None:
            self._resend_s = now_s + self._delay_s()
        return True

    def check(self, now_s: float) -> bool:
        """Do what is due; tell whether Home Assistant, which has seen only what is retained, was told again."""
        if self._withdrawn and self._session.connected and self._session.settled:
            log.info("home assistant announcement withdrawn topic=%s", self._withdrawn)
            self._withdrawn = None
            if not self._config.enabled:
                self._file.remove()
        if self._payload is None or self._resend_s is None or now_s < self._resend_s:
            return False
        self._resend_s = None
        log.info("home assistant has started and is told again topic=%s", self._topic)
        self._session.set_state(self._topic, self._payload)
        return True


class _File:
    """What has been announced, on the disk; a disk that fails costs the removal of what has gone, nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Announced | None:
        """What an earlier run has announced; None if it has announced nothing, or if it cannot be read."""
        try:
            return Announced.model_validate_json(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, UnicodeDecodeError) as error:
            log.warning("home assistant record cannot be read path=%s reason=%r", self._path, str(error))
            return None

    def write(self, announced: Announced) -> None:
        """Keep it, whole or not at all."""
        try:
            replace_text(self._path, announced.model_dump_json(indent=1) + "\n")
        except OSError as error:
            log.warning("home assistant record cannot be kept path=%s reason=%r", self._path, str(error))

    def remove(self) -> None:
        """Forget it; a file that stays is harmless, since it says the same to the next run."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
