"""The systemd unit on fake roots; what a real systemd says of it is in tests/systemd/test_service_in_container.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_app.checks.sandbox import UNIT
from edge_app.checks.unit import check_enabled, check_unit, judge
from edge_app.settings import Config


def config(host: str) -> Config:
    tables = {"mqtt": {"host": host}, "model": {"bundles": ["b"]}, "camera": [{"name": "door", "source": "scene:"}]}
    return Config.model_validate_json(json.dumps(tables))


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
