"""A GPU that OpenVINO sees is tried: one that hangs, ends the process, refuses or computes wrongly is told apart.

The emulated GPU does the same for real: tests/gpu/test_doctor.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openvino as ov
import pytest

from edge_app.checks import gpu_compute
from edge_app.checks.gpu_compute import MENDS, Trial, check_computing, kernel_drivers, try_gpu
from edge_app.checks.machine import version_numbers
from tests.processes import ROOT

TOLD: dict[str, Any] = {"openvino": "2026.4.1-22982-e213a147257", "driver": "25.18.33578", "stage": "compute"}


@pytest.fixture
def bad_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_compute, "TRIAL_MODULE", "tests.checks.bad_trial")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_device_that_computes_is_ok_and_its_versions_are_told(tmp_path: Path) -> None:
    """The trial itself, on the device that every machine has."""
    trial = try_gpu("CPU", {})
    assert trial.fault is None
    check = check_computing(trial, is_wanted=True, root=tmp_path)
    assert check.status == "ok"
    assert f"OpenVINO {'.'.join(map(str, version_numbers(ov.get_version())))}" in check.what


def test_device_that_is_not_there_is_refused_with_openvinos_reason(tmp_path: Path) -> None:
    """The reason is part of a sentence."""
    check = check_computing(try_gpu("GPU.7", {}), is_wanted=True, root=tmp_path)
    assert check.status == "fail"
    assert check.what.startswith("OpenVINO finds the GPU but cannot use it: ")
    assert "GPU" in check.what.partition(": ")[2]


@pytest.mark.usefixtures("bad_driver")
def test_driver_that_hangs_is_ended_at_the_deadline(tmp_path: Path) -> None:
    """What it was at is told, since compiling and computing hang for different reasons."""
    trial = try_gpu("hang", {}, timeout_s=3)
    check = check_computing(trial, is_wanted=True, root=tmp_path)
    assert trial.fault == "hung"
    assert "gave no result within 3 s, compiling a small graph (OpenVINO 2026.4.1, compute driver 25.18)" in check.what
    assert "GPU HANG" in check.mend


@pytest.mark.usefixtures("bad_driver")
def test_driver_that_ends_the_process_is_a_finding(tmp_path: Path) -> None:
    """By the signal's name."""
    check = check_computing(try_gpu("abort", {}), is_wanted=True, root=tmp_path)
    assert "was ended by SIGABRT, compiling a small graph" in check.what
    assert check.mend.startswith(MENDS["ended"])


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"difference": 0.02}, None),
        ({"difference": 3.0}, "wrong"),
        ({"difference": None}, "wrong"),
        ({"error": "it does not build"}, "refused"),
        ({}, "ended"),
    ],
)
def test_each_fault_has_its_mend(tmp_path: Path, more: dict[str, Any], fault: str | None) -> None:
    """Results that are no numbers are wrong ones."""
    trial = Trial({**TOLD, **more}, "was ended by SIGSEGV")
    check = check_computing(trial, is_wanted=True, root=tmp_path)
    assert trial.fault == fault
    assert check.status == ("fail" if fault else "ok")
    assert check.mend.startswith(MENDS[fault] if fault else "")
    assert bool(check.mend) == bool(fault)
    assert "OpenVINO 2026.4.1, compute driver 25.18.33578" in check.what


@pytest.mark.parametrize(("is_wanted", "status"), [(True, "fail"), (False, "warn")])
def test_gpu_that_does_not_compute_fails_only_where_it_is_asked_for(
    tmp_path: Path, is_wanted: bool, status: str
) -> None:
    """With device = "AUTO" the CPU serves, and the board works."""
    assert check_computing(Trial(TOLD), is_wanted=is_wanted, root=tmp_path).status == status


@pytest.mark.parametrize(
    ("version", "status"), [("2025.4.1-1", "fail"), ("2026.3.1-1", "fail"), ("2026.4.0-1", "ok"), ("2027.0.0-1", "ok")]
)
def test_openvino_before_2026_4_is_refused_for_the_gpu(tmp_path: Path, version: str, status: str) -> None:
    """The small graph may come out right there: it is others that are wrong."""
    trial = Trial({**TOLD, "openvino": version, "difference": 0.0})
    check = check_computing(trial, is_wanted=True, root=tmp_path)
    assert check.status == status
    assert ("openvino>=2026.4" in check.mend) == (status == "fail")


def test_kernels_driver_is_told(tmp_path: Path) -> None:
    """i915 or xe: which of the two matters to whoever reads a bug report."""
    driver = tmp_path / "sys/bus/pci/drivers/i915"
    driver.mkdir(parents=True)
    device = tmp_path / "sys/class/drm/renderD128/device"
    device.mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    release = tmp_path / "proc/sys/kernel/osrelease"
    release.parent.mkdir(parents=True)
    release.write_text("6.8.0-40-generic\n", encoding="ascii")
    assert kernel_drivers(tmp_path) == ["i915"]
    assert "i915 of Linux 6.8.0-40-generic" in check_computing(Trial(TOLD), is_wanted=True, root=tmp_path).what
