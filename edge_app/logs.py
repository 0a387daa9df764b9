"""Logging for every process of the house: to stderr, with journald's priorities when stderr is the journal.

What strangers send cannot forge a line or turn it around, whoever wrote the call: each record is one line of printable
characters, its traceback indented below it. A fault that repeats cannot fill the journal: of one kind of line (one
place in the code, or all with the same `extra={"about": ...}`) only so many a minute come through, and the next of its
kind tells how many did not.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque

from edge_app.shown import shown

# journald reads "<N>" at the start of a line as its priority (sd-daemon(3)).
_JOURNAL_PRIORITIES = {logging.DEBUG: "<7>", logging.INFO: "<6>", logging.WARNING: "<4>", logging.ERROR: "<3>"}

MOST_CHARS = 2000  # of a line
PERIOD_S = 60.0
FAULTS_A_PERIOD = 6  # of one kind, from WARNING on
LINES_A_PERIOD = 60  # of one kind of INFO: captions every 5 s are 12, captions at full rate would be thousands


def set_up_logging(level: str) -> None:
    """Configure the root logger; called once, by the `main` of a process and by nothing else."""
    handler = _Handler()
    handler.setFormatter(_Formatter(to_journal="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class RateLimit:
    """Of each kind of line, at most so many in any minute. Not thread-safe: the handler's lock is held around it."""

    def __init__(self) -> None:
        self._told_s: dict[object, deque[float]] = {}  # kind: when its newest lines came through
        self._held_back: dict[object, int] = {}

    def admit(self, record: logging.LogRecord, now_s: float) -> int | None:
        """How many lines of this kind were held back before this one; None if this one is, too."""
        if record.levelno < logging.INFO:
            return 0
        # The place in the code, not the text, which a library may make up anew; or what the call says it is about.
        about = getattr(record, "about", None)
        kind = about or (record.pathname, record.lineno, record.levelno)
        most = FAULTS_A_PERIOD if about or record.levelno >= logging.WARNING else LINES_A_PERIOD
        told_s = self._told_s.setdefault(kind, deque(maxlen=most))
        if len(told_s) == most and now_s - told_s[0] < PERIOD_S:
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return None
        told_s.append(now_s)
        return self._held_back.pop(kind, 0)


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    def __init__(self) -> None:
        super().__init__()
        self._limit = RateLimit()

    def emit(self, record: logging.LogRecord) -> None:
        held_back = self._limit.admit(record, time.monotonic())
        if held_back is not None:
            record.held_back = held_back
            super().emit(record)


class _Formatter(logging.Formatter):
    def __init__(self, *, to_journal: bool) -> None:
        super().__init__("%(message)s" if to_journal else "%(asctime)s %(levelname)-7s %(message)s")
        self._to_journal = to_journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._to_journal:
            return text
        priority = _JOURNAL_PRIORITIES.get(record.levelno, "<5>")
        return "\n".join(priority + line for line in text.splitlines())

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = shown(record.message, MOST_CHARS)
        if held_back := getattr(record, "held_back", 0):
            record.message += f" held_back={held_back}"
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"    {shown(line, MOST_CHARS)}" for line in text.split("\n"))
