"""The folders that the service writes to, on real file systems where the tests may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_app.checks import storage
from edge_app.checks.account import Account, own_account
from edge_app.checks.storage import check_disk, check_owner

OURS = own_account()
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_disk_of_a_folder_to_come_is_that_of_its_parent(tmp_path: Path) -> None:
    """A cache folder that the service will make is no fault."""
    assert check_disk(tmp_path / "cache" / "deeper", OURS).status == "ok"


@needs_root
@pytest.mark.parametrize(("size", "status"), [("2m", "fail"), ("500m", "warn"), ("2g", "ok")])
def test_disk_that_is_nearly_full_is_told_with_the_figure(tmp_path: Path, size: str, status: str) -> None:
    """Below 1024 MiB a warning, below 100 MiB a failure."""
    with mounted(tmp_path, f"size={size}") as folder:
        check = check_disk(folder, OURS)
    assert check.status == status
    assert "MiB" in check.what


@needs_root
def test_read_only_state_folder_is_told_from_a_missing_right(tmp_path: Path) -> None:
    """Not a matter of rights: the mend speaks of the file system."""
    with mounted(tmp_path, "size=2g,ro") as folder:
        check = check_disk(folder / "bundles", OURS)
    assert check.status == "fail"
    assert "read-only file system, so nothing can be stored there" in check.what
    assert "fsck" in check.mend


@pytest.mark.parametrize("below", ["", "deeper"])
def test_file_in_place_of_the_state_folder_is_told(tmp_path: Path, below: str) -> None:
    """Neither it nor a folder below it can be made; the disk may have room as it likes."""
    (tmp_path / "state").touch()
    check = check_disk(tmp_path / "state" / below, OURS)
    assert check.status == "fail"
    assert f"{tmp_path}/state is not a folder" in check.what
    assert f"sudo mv {tmp_path}/state" in check.mend


def test_disk_that_is_full_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, where the tests may not mount."""
    monkeypatch.setattr(storage, "TOO_FEW_DISK_MIB", 2**40)
    monkeypatch.setattr(storage, "FEW_DISK_MIB", 2**40)
    assert check_disk(tmp_path, OURS).status == "fail"


def test_folder_that_cannot_be_written_fails(open_folder: Path) -> None:
    """The rights are the service's, whoever asks: root may write everywhere."""
    open_folder.chmod(0o750)
    service = Account("edge-app", 64_000, 64_000, frozenset({64_000}))
    check = check_disk(open_folder, service)
    assert check.status == "fail"
    assert check.mend == f"Run: sudo install -d -o edge-app {open_folder}"
    open_folder.chmod(0o757)
    assert check_disk(open_folder, service).status == "ok"


def test_file_of_another_user_in_the_state_folder_is_told(tmp_path: Path) -> None:
    """After `sudo edge-app run` the messages are root's; folders (bundles) may be anybody's."""
    (tmp_path / "bundles").mkdir()
    service = Account("edge-app", 64_000, 64_000, frozenset({64_000}))
    assert check_owner(tmp_path, service).status == "ok"
    (tmp_path / "messages.db").touch()
    check = check_owner(tmp_path, service)
    assert check.status == "fail"
    assert "messages.db" in check.what
    assert f"chown -R edge-app: {tmp_path}" in check.mend
