"""The rules that came by MQTT, on the disk: the file `rules.json` of the state folder, written whole or not at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from edge_app.durable import replace_text
from edge_app.rules.rule import MAX_RULES, RuleConfig

FILE_NAME = "rules.json"

log = logging.getLogger(__name__)


class Kept(BaseModel):
    """The content of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[RuleConfig, ...] = ()
    published: tuple[str, ...] = ()
    """Ids of all rules that may have retained topics at the broker, so that those of one that is gone are cleared."""


class RuleFile:
    """`rules.json` of one node. Nothing is written in place of what could not be read: it may be readable later."""

    def __init__(self, folder: Path | None) -> None:
        """In this folder; with None nothing is kept."""
        self.problem: str | None = None
        """Why the disk does not have what it should, as a sentence; None while it does."""
        self.is_read = folder is None
        self._folder = folder

    def read(self) -> Kept:
        """What is kept; nothing where that cannot be told, and then `is_read` stays False."""
        if self._folder is None:
            return Kept()
        try:
            found = read(self._folder)
        except OSError as error:
            self._tell(
                f"The rules on the disk could not be read ({error.strerror}), which is tried again; until then nothing "
                "is written there, and a restart forgets what changes now."
            )
            return Kept()
        self.is_read, self.problem = True, None
        return found

    def write(self, rules: Sequence[RuleConfig], published: Sequence[str]) -> None:
        """Replace what is kept; `problem` tells whether that succeeded."""
        if self._folder is None or not self.is_read:
            return
        try:
            write(self._folder, rules, published)
        except OSError as error:
            self._tell(f"The rules could not be written to the disk ({error.strerror}); a restart forgets them.")
        else:
            self.problem = None

    def _tell(self, problem: str) -> None:
        """Log what is wrong once, not at each attempt."""
        if problem != self.problem:
            log.error("rules disk failed reason=%r", problem)
        self.problem = problem


def read(folder: Path) -> Kept:
    """What is kept in `folder`; nothing where there is no file. A spoilt one is moved aside: it stops no service.

    OSError when the disk does not give it, or the spoilt one cannot be moved.
    """
    path = folder / FILE_NAME
    try:
        return Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Kept()
    except ValidationError as error:
        log.error("rules spoilt path=%s reason=%r action=%s", path, error.errors()[0]["msg"], "moved aside")
    path.replace(path.with_name(f"{FILE_NAME}.spoilt"))
    return Kept()


def write(folder: Path, rules: Sequence[RuleConfig], published: Sequence[str]) -> None:
    """Replace what is kept. OSError when the disk takes nothing; then what was kept before still is."""
    kept = Kept(rules=tuple(rules), published=tuple(published[-2 * MAX_RULES :]))
    replace_text(folder / FILE_NAME, kept.model_dump_json(indent=1) + "\n")
