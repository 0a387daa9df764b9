"""Whether a GPU that OpenVINO finds computes: a small graph, in a process with a deadline; the usual causes if not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_app.checks import Check
from edge_app.checks.machine import install, version_numbers

TRIAL_MODULE = "edge_app.checks.gpu_trial"
TRIAL_TIMEOUT_S = 180.0  # a driver compiles the graph in seconds; the limit is for one that hangs
LARGEST_DIFFERENCE = 0.25  # standard deviations; FP16 is off by 0.03, BF16 by 0.1, a broken sub-group by 9
LEAST_OPENVINO = (2026, 4)  # 2025.4 computed graphs of free shapes wrongly on GPUs before Xe

STAGES = {"compile": "compiling a small graph", "compute": "computing a small graph"}
PACKAGES = "apt list --installed 2>/dev/null | grep -E 'opencl-icd|igc|igdgmm'"
OF_ONE_RELEASE = (
    f"Usual causes: the driver's parts are of different releases (see `{PACKAGES}`), or older than the GPU; install "
    "Intel's newest, all of one release (docs/board.md). Or the memory is full: `free -h`."
)
MENDS = {
    "hung": "Look for `GPU HANG` or a reset in `dmesg | grep -E 'i915|xe'`. Usual causes: a kernel or BIOS older than "
    "the GPU, a power supply that is too weak, another program that keeps the GPU busy.",
    "ended": OF_ONE_RELEASE,
    "refused": OF_ONE_RELEASE,
    "wrong": "Usual causes: a driver of a distribution that is older than the GPU (docs/board.md: Intel's newest), an "
    "OpenVINO older than 2026.4.",
}
MEANWHILE = ' Until then: model.device = "CPU".'


@dataclass(frozen=True)
class Trial:
    """How the small graph went.

    Attributes:
        told: what the process has told: `openvino`, `driver`, `stage`, and `difference` or `error`.
        end: how the process ended where it told neither of the last two, as part of a sentence.
        has_hung: whether it had to be ended.
    """

    told: Mapping[str, Any]
    end: str = ""
    has_hung: bool = False

    @property
    def fault(self) -> str | None:
        """The key of what is wrong in MENDS, or None."""
        if "error" in self.told:
            return "refused"
        if "difference" not in self.told:
            return "hung" if self.has_hung else "ended"
        difference = self.told["difference"]
        return "wrong" if difference is None or difference > LARGEST_DIFFERENCE else None


def try_gpu(device: str, rights: Mapping[str, Any], *, timeout_s: float = TRIAL_TIMEOUT_S) -> Trial:
    """Compile and run a small graph on `device` in a process that has `rights`, as Popen takes them."""
    command = [sys.executable, "-m", TRIAL_MODULE, device]
    # What a killed process has told must be there to read, so the pipe is read to its end in any case.
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **rights)
    try:
        output, has_hung = process.communicate(timeout=timeout_s)[0], False
    except subprocess.TimeoutExpired:
        process.kill()
        output, has_hung = process.communicate()[0], True
    told: dict[str, Any] = {}
    for line in output.splitlines():
        if line.startswith("{"):  # else a driver's own words
            told |= json.loads(line)
    end = f"gave no result within {timeout_s:g} s" if has_hung else _end(process.returncode)
    return Trial(told, end, has_hung)


def _end(exit_code: int) -> str:
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"


def check_computing(trial: Trial, *, is_wanted: bool, root: Path = Path("/")) -> Check:
    """Judge a trial; versions are told in any case."""
    versions = _versions(trial.told, root)
    if fault := trial.fault:
        what = f"{_what(fault, trial)} ({versions})."
        return Check("gpu", "fail" if is_wanted else "warn", what, MENDS[fault] + MEANWHILE)
    if version_numbers(str(trial.told["openvino"])) < LEAST_OPENVINO:
        least = ".".join(map(str, LEAST_OPENVINO))
        what = f"The GPU computes a small graph, but OpenVINO before {least} computes others wrongly ({versions})."
        return Check("gpu", "fail" if is_wanted else "warn", what, install(f"openvino>={least}") + "." + MEANWHILE)
    return Check("gpu", "ok", f"It compiles and computes a small graph rightly ({versions}).")


def _what(fault: str, trial: Trial) -> str:
    if fault == "refused":
        return f"OpenVINO finds the GPU but cannot use it: {trial.told['error']}"
    if fault == "wrong":
        difference = trial.told["difference"]
        off = "not numbers" if difference is None else f"off by {difference:.2f} standard deviations"
        return f"The GPU computes wrongly: results of a small graph are {off}"
    doing = STAGES.get(trial.told.get("stage", ""), "opening the GPU")
    return f"The GPU is there and does not compute: the process that tried it {trial.end}, {doing}"


def _versions(told: Mapping[str, Any], root: Path) -> str:
    """The versions of OpenVINO, the compute driver and the kernel's driver, as far as they are known."""
    openvino = ".".join(map(str, version_numbers(str(told.get("openvino", ""))))) or "unknown"
    parts = [f"OpenVINO {openvino}", f"compute driver {told.get('driver') or 'unknown'}"]
    if names := kernel_drivers(root):
        release = (root / "proc/sys/kernel/osrelease").read_text(encoding="ascii").strip()
        parts.append(f"{' and '.join(names)} of Linux {release}")
    return ", ".join(parts)


def kernel_drivers(root: Path = Path("/")) -> list[str]:
    """The kernel's drivers of the render nodes: i915, xe, ..."""
    nodes = sorted((root / "sys/class/drm").glob("renderD*"))
    return sorted({(node / "device/driver").resolve().name for node in nodes if (node / "device/driver").exists()})
