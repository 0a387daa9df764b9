"""What a row of the fault suite is: a function that causes a fault so many times, and the outcome that it returns."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults import rows

if TYPE_CHECKING:
    from tests.faults.harness import Harness


class UnavailableError(Exception):
    """This machine cannot cause the fault; the message says what it lacks. The row has failed: nothing was shown."""


@dataclass(frozen=True)
class Outcome:
    """What the node made of a fault.

    Attributes:
        times: how often the fault was caused.
        lost: messages (or what the row counts) that were promised and did not come; None where the row has none.
        duplicates: messages that came more than once with the same `msg_id`; None where the row has none.
        detected_s: seconds until the node said that something is wrong, the slowest; None where the row has none.
        recovered_s: seconds from the end of the fault until the node worked again, the slowest; None likewise.
        passed: whether the node did what docs and faults table promise.
        figure: the figures that decided, in one line; for a row that failed, also what was expected.
    """

    times: int
    lost: int | None
    duplicates: int | None
    detected_s: float | None
    recovered_s: float | None
    passed: bool
    figure: str


Cause = Callable[["Harness", int], Outcome]


@dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
        id: its name in the table, as M1.
        title: the fault in a few words.
        short, long: how often it is caused in the short and the long form.
        alone: it measures times or rates, so no other row may run beside it.
        limit_s: a short form that takes longer than this has failed; other forms have as much more as they have times.
        cause: the row itself.
    """

    id: str
    title: str
    short: int
    long: int
    alone: bool
    limit_s: float
    cause: Cause


FAULTS: dict[str, Fault] = {}
"""All rows that have been imported, by id."""


def fault(
    id: str, title: str, *, short: int, long: int, alone: bool = False, limit_s: float = 120
) -> Callable[[Cause], Cause]:
    """Make a function `(harness, times) -> Outcome` a row of the table."""
    assert re.fullmatch(r"[A-Z]+[0-9]+[a-z]?", id), f"{id!r} is no name of a row, as M1"

    def add(cause: Cause) -> Cause:
        assert id not in FAULTS, f"the row {id} is there twice"
        FAULTS[id] = Fault(id, title, short, long, alone, limit_s, cause)
        return cause

    return add


def all_faults() -> list[Fault]:
    """Import all modules of `rows` and return their faults, in the order of the table."""
    for module in pkgutil.iter_modules(rows.__path__):
        importlib.import_module(f"{rows.__name__}.{module.name}")
    return sorted(FAULTS.values(), key=_place)


def _place(one: Fault) -> tuple[int, int, str]:
    """The families in the order of docs/faults.md; within one by number, so that M10 comes after M9."""
    families = ["M", "C", "I", "S", "U", "T", "W", "O", "L"]
    match = re.fullmatch(r"([A-Z]+)([0-9]+)([a-z]?)", one.id)
    assert match is not None
    family, number, letter = match.groups()
    return (families.index(family) if family in families else len(families), int(number), letter)
