"""`edge-app doctor` on the emulated GPU: it computes; its kernels do not build; it computes wrongly."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edge_app.checks import Check
from edge_app.checks.gpu_compute import MENDS, Trial, check_computing, try_gpu
from tests.processes import ROOT


def trial() -> Trial:
    return try_gpu("GPU", {}, timeout_s=600)


def test_gpu_that_computes_is_ok() -> None:
    """The whole command, with the driver's version as OpenCL tells it."""
    command = [sys.executable, "-m", "edge_app", "doctor", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    checks = [Check(**json.loads(line)) for line in done.stdout.splitlines()]
    (gpu,) = (check for check in checks if check.name == "gpu")
    assert gpu.status == "ok", gpu
    assert "compute driver 25.18.33578-fakexe" in gpu.what


def test_kernels_that_do_not_build_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OpenVINO's own reason."""
    monkeypatch.setenv("FAKEXE_FAIL", "softmax")
    check = check_computing(trial(), is_wanted=True)
    assert check.status == "fail"
    assert check.what.startswith("OpenVINO finds the GPU but cannot use it: ")
    assert check.mend.startswith(MENDS["refused"])


@pytest.mark.parametrize("fault", [("FAKEXE_SKIP", "softmax"), ("FAKEXE_LINEAR", "0")])
def test_wrong_results_are_told(fault: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that does nothing; sub-groups of the wrong work-items. Neither is an error to OpenVINO."""
    monkeypatch.setenv(*fault)
    found = trial()
    assert found.fault == "wrong", found
    check = check_computing(found, is_wanted=True)
    assert check.status == "fail"
    assert "computes wrongly" in check.what
