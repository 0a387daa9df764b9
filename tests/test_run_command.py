"""`edge-app run` before its service runs: it can be ended from the first moment on."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.broker import PATIENCE_S, wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_service_runs_ends_in_order(tmp_path: Path, number: int) -> None:
    """Exit code 0, as at any later time; systemd would call anything else a failure."""
    config = tmp_path / "config.toml"
    os.mkfifo(config)  # reading it waits for a writer, which holds the program in its start
    run = subprocess.Popen(
        [sys.executable, "-m", "edge_app", "run", "--config", str(config)], stderr=subprocess.PIPE, text=True
    )
    try:
        writers: list[int] = []
        wait_until(lambda: _opened_for_writing(config, writers), "the program to read its configuration")
        errors = _signalled(run, number)
    finally:
        run.kill()
        run.wait()
    os.close(writers[0])
    assert (run.returncode, errors) == (0, "")


def test_the_handler_is_in_place_before_the_slow_imports() -> None:
    """What takes time to import is imported with the handler in place."""
    script = "import sys, edge_app.commands.run; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def _signalled(run: subprocess.Popen[str], number: int) -> str:
    """Send the signal until the program has ended; what it said on stderr.

    One that comes just before Python begins to wait for the pipe is only handled when the pipe says something, which
    it never does.
    """
    for _ in range(PATIENCE_S):
        run.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return run.communicate(timeout=1)[1]
    raise AssertionError(f"the program does not end by signal {number}")


def _opened_for_writing(pipe: Path, writers: list[int]) -> bool:
    """Whether the other end has a reader; then the end for writing is open, too."""
    try:
        writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False
    return True
