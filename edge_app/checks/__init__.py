"""What `edge-app doctor` looks at; each check says what it found, and the mend if that is not good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    status: Status
    what: str
    """What was found, as a sentence or a value."""
    mend: str = ""
    """What to do about it; empty when all is well."""
