"""Logging for every process of the house: to stderr, with journald's priorities when stderr is the journal."""

from __future__ import annotations

import logging
import os

# journald reads "<N>" at the start of a line as its priority (sd-daemon(3)).
_JOURNAL_PRIORITIES = {logging.DEBUG: "<7>", logging.INFO: "<6>", logging.WARNING: "<4>", logging.ERROR: "<3>"}


def set_up_logging(level: str) -> None:
    """Configure the root logger; called once, by the `main` of a process and by nothing else."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(to_journal="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=level, handlers=[handler], force=True)


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
