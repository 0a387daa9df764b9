"""The systemd unit on fake roots; what a real systemd says of it is in tests/systemd/test_service_in_container.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge_app.checks.unit import UNIT, check_enabled, check_network_filter, check_unit, judge
from edge_app.settings import Config

SOURCE = Path(__file__).parents[2] / "systemd" / UNIT


def config(host: str) -> Config:
    tables = {"mqtt": {"host": host}, "model": {"bundles": ["b"]}, "camera": [{"name": "door", "source": "scene:"}]}
    return Config.model_validate_json(json.dumps(tables))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with the unit installed and enabled."""
    folder = tmp_path / "usr/local/lib/systemd/system"
    folder.mkdir(parents=True)
    shutil.copy(SOURCE, folder)
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / UNIT).symlink_to(f"/usr/local/lib/systemd/system/{UNIT}")
    return tmp_path


def test_machine_without_the_unit_has_no_fault(tmp_path: Path) -> None:
    """A workstation runs the doctor too."""
    assert [check.status for check in check_unit(config("localhost"), tmp_path)] == ["ok"]


def test_unit_that_does_not_start_with_the_machine_is_told(root: Path) -> None:
    """The link that `systemctl enable` makes is there, or not."""
    assert check_enabled(root).status == "ok"
    (root / f"etc/systemd/system/multi-user.target.wants/{UNIT}").unlink()
    check = check_enabled(root)
    assert (check.status, check.mend) == ("warn", "Run: sudo systemctl enable edge-app")


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        ({"ActiveState": "active", "NRestarts": "0", "StatusText": "all well"}, "ok", "all well"),
        ({"ActiveState": "active", "NRestarts": "7", "StatusText": "all well"}, "warn", "restarted 7 times"),
        ({"ActiveState": "failed", "ExecMainStatus": "78", "Result": "exit-code"}, "fail", "configuration"),
        ({"ActiveState": "failed", "ExecMainStatus": "1", "Result": "signal"}, "fail", "signal"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "2"}, "fail", "again and again"),
        ({"ActiveState": "inactive", "NRestarts": "0"}, "warn", "inactive"),
        ({}, "warn", "unknown"),
    ],
)
def test_state_of_the_unit_is_judged(state: dict[str, str], status: str, word: str) -> None:
    """What `systemctl show` says, as a finding with its mend."""
    check = judge(state)
    assert check.status == status
    assert word in check.what
    assert bool(check.mend) == (status != "ok")


def test_broker_that_the_unit_shuts_out_is_named(root: Path) -> None:
    """As installed the unit lets the service talk to this machine only; a drop-in opens the way."""
    assert check_network_filter(config("localhost"), root).status == "ok"
    check = check_network_filter(config("10.0.0.5"), root)
    assert check.status == "fail"
    assert "--allow 10.0.0.5" in check.mend
    drop_in = root / f"etc/systemd/system/{UNIT}.d/10-network.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nIPAddressAllow=10.0.0.0/24\n", encoding="ascii")
    assert check_network_filter(config("10.0.0.5"), root).status == "ok"
    assert check_network_filter(config("10.0.1.5"), root).status == "fail"


def test_filter_that_a_drop_in_lifts_is_no_fault(root: Path) -> None:
    """An empty value begins a list anew (systemd.unit(5))."""
    drop_in = root / f"etc/systemd/system/{UNIT}.d/open.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nIPAddressDeny=\n", encoding="ascii")
    assert check_network_filter(config("10.0.0.5"), root).status == "ok"
