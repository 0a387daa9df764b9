"""The log: no line can be forged or turned around, and no fault can fill it."""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys

from edge_app.logs import FAULTS_A_PERIOD, LINES_A_PERIOD, RateLimit
from edge_app.shown import shown

START = "import logging, os; from edge_app import logs; logs.set_up_logging('INFO'); log = logging.getLogger('x');"


def said(script: str, **environ: str) -> list[str]:
    """The lines that a process with our logging writes to stderr."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ, check=False)
    assert done.stdout == ""
    return done.stderr.split("\n")[:-1]


HOSTILE = "a\nERROR forged\r\x1b[2J\u202egnol\u2028\x00"


def test_a_record_is_one_line_of_printable_characters() -> None:
    """Whatever the call site forgot to escape; the journal's priority stays in front of it."""
    line, *more = said(f"{START} log.warning('refused reason=%s', {HOSTILE!r})", JOURNAL_STREAM="8:1")
    assert more == []
    assert line == r"<4>refused reason=a\nERROR forged\r\x1b[2J\u202egnol\u2028\x00"


def test_a_traceback_is_indented_and_cannot_forge_a_line() -> None:
    """The text of an exception may be a stranger's; a line of the log never begins with it."""
    lines = said(f"{START}\ntry: raise ValueError({HOSTILE!r})\nexcept ValueError: log.exception('failed')")
    assert lines[0].endswith("ERROR   failed")
    assert all(line.startswith("    ") and line.isprintable() for line in lines[1:])
    assert any("ValueError: a" in line for line in lines)


def test_a_long_text_loses_its_middle() -> None:
    """The beginning says what happened, the end what to do."""
    text = shown("The path " + "x" * 10_000 + " is bad; choose another.")
    assert len(text) <= 500
    assert text.startswith("The path ") and text.endswith("choose another.")
    assert shown("Grüße, 猫 😀") == "Grüße, 猫 😀"


def test_lines_about_one_thing_share_a_limit() -> None:
    """A camera with a loose plug comes and goes, and says other things each time."""
    script = (
        "[log.log(20 + 10 * (n % 2), 'camera line=%d', n, extra={'about': f'camera {n // 10}'}) for n in range(13)]"
    )
    assert [line.split()[-1] for line in said(f"{START} {script}")] == [f"line={n}" for n in [*range(6), 10, 11, 12]]


def test_a_fault_that_repeats_does_not_fill_the_journal() -> None:
    """A warning every 100 ms: 6 lines a minute, in any minute, and the next one says how many it stands for."""
    limit, told_s, counted = RateLimit(), [], 0
    for step in range(3000):  # five minutes
        if (held_back := limit.admit(record(logging.WARNING), step / 10)) is not None:
            told_s.append(step / 10)
            counted += 1 + held_back
    assert len(told_s) == 30
    assert all(later - early >= 60 for early, later in zip(told_s, told_s[FAULTS_A_PERIOD:], strict=False))
    assert counted > 3000 - 600  # all but those held back since the last line


def test_kinds_do_not_share_their_limit() -> None:
    """A noisy camera hides no other fault; ordinary lines have more room, and DEBUG is not limited."""
    limit = RateLimit()
    admitted = {
        (level, line): sum(limit.admit(record(level, line), 0.0) is not None for _ in range(1000))
        for level, line in itertools.product((logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR), (1, 2))
    }
    for (level, _), count in admitted.items():
        assert count == {logging.DEBUG: 1000, logging.INFO: LINES_A_PERIOD}.get(level, FAULTS_A_PERIOD)


def test_the_limit_is_in_force_in_a_process() -> None:
    """Also where the text of each line differs."""
    lines = said(f"{START}\nfor number in range(1000): log.warning('broken number=%d', number)")
    assert [line.rpartition("=")[2] for line in lines] == ["0", "1", "2", "3", "4", "5"]


def record(level: int, line: int = 1) -> logging.LogRecord:
    return logging.LogRecord("x", level, "x.py", line, "broken", None, None)
