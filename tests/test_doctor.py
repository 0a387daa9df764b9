"""`edge-app doctor`: each thing that can be wrong is found, and its mend is named."""

from __future__ import annotations

import argparse
import json
import logging
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from edge_app.checks import Check, clock, inference, machine
from edge_app.checks.account import own_account
from edge_app.checks.clock import check_clock
from edge_app.checks.inference import check_model, list_devices
from edge_app.checks.machine import LEAST_VERSIONS, check_memory, check_package
from edge_app.commands import doctor as doctor_command
from edge_app.errors import ConfigError
from edge_app.settings import ModelConfig

ROOT = Path(__file__).parent.parent


def test_least_versions_are_those_of_the_package() -> None:
    """The doctor asks for what pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = (re.fullmatch(r"([\w-]+)>=([\d.]+)(,.*)?", text) for text in project["dependencies"])
    assert {found[1]: machine.version_numbers(found[2]) for found in asked if found} == LEAST_VERSIONS
    assert machine.version_numbers(project["requires-python"].removeprefix(">=")) == machine.LEAST_PYTHON


@pytest.mark.parametrize(
    ("version", "numbers"), [("5.0.0.93", (5, 0, 0, 93)), ("2.4rc1", (2, 4)), ("11", (11,)), ("unknown", ())]
)
def test_versions_are_numbers(version: str, numbers: tuple[int, ...]) -> None:
    """Versions compare as numbers: 0.9 is older than 0.22, although the text "0.9" sorts after it."""
    assert machine.version_numbers(version) == numbers


@pytest.mark.parametrize(
    ("package", "least", "status"),
    [("numpy", (2, 0), "ok"), ("numpy", (999,), "fail"), ("no-such-package-here", (1,), "fail")],
)
def test_package_is_there_and_new_enough(package: str, least: tuple[int, ...], status: str) -> None:
    """A missing or old package fails, and the mend is the command that installs it."""
    check = check_package(package, least)
    assert check.status == status
    assert ("pip install" in check.mend) == (status == "fail")


@pytest.mark.parametrize(("available_mib", "status"), [(8000, "ok"), (1499, "warn"), (499, "fail")])
def test_memory_is_judged_by_what_is_available(tmp_path: Path, available_mib: int, status: str) -> None:
    """MemAvailable counts, not MemFree: the page cache gives way."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: {available_mib * 1024} kB\n")
    assert check_memory(meminfo).status == status


def test_kernels_clock_is_read_by_the_right_layout() -> None:
    """The fields sit where the kernel writes them: the seconds that follow `status` are those of now."""
    values = clock.read_timex()
    assert values is not None
    assert values.seconds == pytest.approx(time.time(), abs=2)


@pytest.mark.parametrize(("status", "is_synchronised"), [(0x2001, True), (0x2041, False)])
def test_kernels_word_is_one_bit(status: int, is_synchronised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """STA_UNSYNC (0x40) among the other bits of the status decides."""
    monkeypatch.setattr(clock, "read_timex", lambda: clock.Timex(status=status))
    assert clock.kernel_clock_is_synchronised() is is_synchronised


def test_clock_that_timesyncd_has_set_is_synchronised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark of systemd-timesyncd is enough; without it the kernel's word counts, and a wrong clock only warns."""
    monkeypatch.setattr(clock, "kernel_clock_is_synchronised", lambda: False)
    monkeypatch.setattr(clock, "TIMESYNC_MARK", tmp_path / "synchronized")
    assert check_clock().status == "warn"
    (tmp_path / "synchronized").touch()
    assert check_clock().status == "ok"


def test_openvino_lists_the_cpu() -> None:
    """The list comes from a process of its own, since a GPU driver may crash in it."""
    assert "CPU" in list_devices(own_account())


def test_openvino_that_crashes_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that takes its process down does not take the doctor down."""
    monkeypatch.setattr(inference, "_LIST_DEVICES", "import os; os.abort()")
    assert list_devices(own_account()) == {}


def test_missing_bundle_fails_with_the_models_own_reason(tmp_path: Path) -> None:
    """What the model's process would say at its start is what the doctor says."""
    check = check_model(ModelConfig(bundles=(tmp_path / "nowhere",)), own_account())
    assert check.status == "fail"
    assert "nowhere" in check.what


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_app", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def test_json_is_one_check_a_line_and_the_exit_code_says_that_one_failed(tmp_path: Path) -> None:
    """Each line is one check; each that is not ok has a mend; a wrong configuration is a finding, exit code 1."""
    path = tmp_path / "config.toml"
    path.write_text("[mqtt]\nport = 70000\nhots = 'x'\n")
    done = doctor("--json", "--config", str(path))
    checks = [Check(**json.loads(line)) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    problems = [check for check in checks if check.name == "configuration"]
    assert any("mqtt.port" in check.what for check in problems)
    assert any("mqtt.hots" in check.what for check in problems)
    assert all(check.mend for check in checks if check.status != "ok")
    assert all(check.what for check in checks)


def test_text_names_the_mend_below_what_is_wrong(tmp_path: Path) -> None:
    """A person reads what failed and, on the next line, what to do."""
    done = doctor("--config", str(tmp_path / "missing.toml"))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    failure = next(number for number, line in enumerate(lines) if line.startswith("fail"))
    assert lines[failure + 1].lstrip().startswith("-> Write one: config.toml of the repository is the sample")


@pytest.mark.parametrize(("failed", "last"), [(0, "Nothing failed."), (1, "1 check failed."), (2, "2 checks failed.")])
def test_last_line_counts_the_failures(
    failed: int, last: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One is one."""
    found = [Check("disk", "warn", "nearly full", "free some"), *[Check("broker", "fail", "away", "start it")] * failed]
    monkeypatch.setattr(doctor_command, "all_checks", lambda _arguments: iter(found))
    monkeypatch.setattr(logging.getLogger(), "setLevel", lambda _level: None)  # the tests' own log goes on
    assert doctor_command.run(argparse.Namespace(json=False)) == min(failed, 1)
    assert capsys.readouterr().out.splitlines()[-1] == last


def test_configuration_that_is_closed_to_who_asks_is_no_wrong_one(tmp_path: Path) -> None:
    """As installed only root and the service may read it."""
    path = tmp_path / "config.toml"
    error = ConfigError(["closed"])
    error.__cause__ = PermissionError()
    assert doctor_command.mend_of(error, path) == f"Run: sudo edge-app doctor --config {path}"
    assert "Write one" in doctor_command.mend_of(ConfigError(["There is none."]), None)
    assert doctor_command.mend_of(ConfigError(["mqtt.hots"]), path).startswith("Correct it")
