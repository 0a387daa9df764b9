"""What the checks look at: folders that are open to all, a user with few rights, an installed unit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_app.checks.account import Account
from edge_app.checks.sandbox import UNIT
from tests.processes import ROOT


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed to all but one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def closed_program(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run this test with a Python that no other user may run, as a developer's in a home."""
    (open_folder / "home").mkdir(0o700)
    (open_folder / "home" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", f"{open_folder}/home/python")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with the unit installed and enabled."""
    folder = tmp_path / "usr/local/lib/systemd/system"
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "systemd" / UNIT, folder)
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / UNIT).symlink_to(f"/usr/local/lib/systemd/system/{UNIT}")
    return tmp_path


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Account:
    """A user without any right of its own, as whom processes of this program can be started: root alone may do that.

    The Python of the tests is often one of root's; then the system's of the same version stands in for it.
    """
    account = Account("edge-app", 64_000, 64_000, frozenset({64_000}))
    if os.geteuid() != 0:
        pytest.skip("only root may start a process as another user")
    for python in (sys.executable, "/usr/bin/python3"):
        if account.may(Path(python), os.X_OK) and account.may(ROOT / "edge_app", os.X_OK) and _is_like_ours(python):
            monkeypatch.setattr(sys, "executable", python)
            monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{sysconfig.get_path('purelib')}")
            return account
    pytest.skip("no Python of this version is open to every user")


def _is_like_ours(python: str) -> bool:
    asked = "import sys; print(sys.version_info[:2])"
    told = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False).stdout
    return told.strip() == str(sys.version_info[:2])
