"""What an export builds in goes with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from export.bundle import building
from export.errors import ExportError
from export.work_folder import work_folder
from tests.broker import wait_until

KILLED = """
import sys, time
from pathlib import Path
from export.work_folder import work_folder

with work_folder(Path(sys.argv[1])) as work:
    (work / "half").touch()
    time.sleep(600)
"""


def test_what_a_killed_process_left_goes_when_the_next_begins(tmp_path: Path) -> None:
    """kill -9 leaves its folder, which a process that builds at the same place removes; a namesake's stays."""
    out = tmp_path / "out"
    (tmp_path / ".outer-1.unfinished").mkdir()
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)])
    try:
        wait_until(lambda: list(tmp_path.glob(".out-*/half")), "the folder", 60)
        with work_folder(out) as work:
            assert len(list(tmp_path.glob(".out-*"))) == 2, "the folder of a process that lives is its own"
        assert not work.exists()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert len(list(tmp_path.glob(".out-*"))) == 1
    with work_folder(out) as work:
        assert [path.name for path in tmp_path.glob(".out-*")] == [work.name]
    assert [path.name for path in tmp_path.iterdir()] == [".outer-1.unfinished"]


def test_link_that_leads_nowhere_is_refused_before_the_work(tmp_path: Path) -> None:
    """It would be found out by the last rename."""
    (tmp_path / "link").symlink_to("nowhere")
    with (
        pytest.raises(ExportError, match="is a link to nowhere, where nothing is"),
        building(tmp_path / "link", force=True),
    ):
        raise AssertionError("nothing is to be built")
