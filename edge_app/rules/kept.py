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
    """Ids of all rules that have retained topics at the broker, so that those of a rule that is gone can be cleared."""


def read(folder: Path) -> Kept:
    """What is kept in `folder`; nothing where there is no file. A spoilt one is moved aside: it stops no service."""
    path = folder / FILE_NAME
    try:
        return Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        log.warning("rules not read path=%s reason=%s", path, error)
        return Kept()
    except ValidationError as error:
        log.error("rules spoilt path=%s reason=%r action=%s", path, error.errors()[0]["msg"], "moved aside")
    try:
        path.replace(path.with_name(f"{FILE_NAME}.spoilt"))
    except OSError as error:  # a read-only disk: it is read again at the next start
        log.warning("rules not moved aside path=%s reason=%s", path, error)
    return Kept()


def write(folder: Path, rules: Sequence[RuleConfig], published: Sequence[str]) -> None:
    """Replace what is kept. OSError when the disk takes nothing; then what was kept before still is."""
    kept = Kept(rules=tuple(rules), published=tuple(published[-2 * MAX_RULES :]))
    replace_text(folder / FILE_NAME, kept.model_dump_json(indent=1) + "\n")
