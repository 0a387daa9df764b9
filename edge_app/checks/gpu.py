"""The way to an Intel GPU: driver, rights, compute packages; the first thing that is missing is told.

A GPU that OpenVINO does not see is the commonest fault of a new board, and a silent one: the CPU does the work. Whether
one that it does see computes is tried in gpu_compute.py.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from edge_app.checks import Check, Status
from edge_app.checks.account import Account, group_of, own_account

INTEL = 0x8086

# GPUs before Xe, which Intel's compute runtime dropped after 24.35 (its LEGACY_PLATFORMS.md), by the high byte of their
# PCI ids as the kernel lists them (include/drm/i915_pciids.h).
LEGACY_FAMILIES = {
    0x16: "Broadwell",
    0x19: "Skylake",
    0x31: "Gemini Lake",
    0x3E: "Coffee Lake or Whiskey Lake",
    0x45: "Elkhart Lake",
    0x4E: "Jasper Lake",
    0x59: "Kaby Lake",
    0x87: "Amber Lake",
    0x8A: "Ice Lake",
    0x9B: "Comet Lake",
}
APOLLO_LAKE = {0x0A84, 0x1A84, 0x1A85, 0x5A84, 0x5A85}  # it shares its high bytes with others
LAST_LEGACY_RELEASE = (24, 35)
RUNTIME = "intel-opencl-icd"
LEGACY_RUNTIMES = ("intel-opencl-icd-legacy1", "intel-opencl-icd-legacy")  # Intel's package, Debian's
LOADER = "ocl-icd-libopencl1"


@dataclass(frozen=True)
class Gpu:
    """An Intel display controller on the PCI bus."""

    device: int
    """Its PCI device id."""

    @property
    def legacy_family(self) -> str | None:
        """The family's name if only the legacy runtime drives it, else None."""
        return "Apollo Lake" if self.device in APOLLO_LAKE else LEGACY_FAMILIES.get(self.device >> 8)


def check_missing_gpu(*, is_wanted: bool, account: Account | None = None, root: Path = Path("/")) -> Check:
    """The first fault between the kernel and OpenVINO, which sees no GPU."""
    status: Status = "fail" if is_wanted else "warn"
    what, mend = _first_fault(account or own_account(), root)
    return Check("gpu", status, what, mend)


def _first_fault(account: Account, root: Path) -> tuple[str, str]:
    """What is wrong, and the mend."""
    gpus, nodes = intel_gpus(root), sorted((root / "dev/dri").glob("renderD*"))
    if not nodes and not gpus:
        return (
            "There is no /dev/dri/renderD128 and no Intel GPU on the PCI bus. Captions work on the CPU, more slowly.",
            "Nothing, if this machine has none; a virtual machine has to be given the GPU.",
        )
    if not nodes:
        return (
            f"There is an Intel GPU (8086:{gpus[0].device:04x}) but no /dev/dri/renderD128: its driver is not loaded.",
            "Look for i915 or xe in `dmesg`: a kernel older than the GPU, `nomodeset` on the kernel's command line, or "
            "missing firmware (Debian: firmware-misc-nonfree; Ubuntu: linux-firmware).",
        )
    if closed := [node for node in nodes if not account.may(node, os.R_OK | os.W_OK)]:
        who = f"The service's user {account.name}" if account.name else "This user"
        return f"{who} may not open {closed[0]} (group {group_of(closed[0])}).", account.join(group_of(closed[0]))
    return _package_fault(gpus, installed_packages(root), nodes[0])


def _package_fault(gpus: list[Gpu], packages: dict[str, str], node: Path) -> tuple[str, str]:
    legacy = [name for name in LEGACY_RUNTIMES if name in packages]
    version = packages.get(RUNTIME)
    old = next((gpu for gpu in gpus if gpu.legacy_family), None)
    if old and not legacy and (version is None or release(version) > LAST_LEGACY_RELEASE):
        return (
            f"The GPU (8086:{old.device:04x}, {old.legacy_family}) is too old for {RUNTIME} {version or 'of today'}: "
            "the last release for it was 24.35.",
            f"Install {LEGACY_RUNTIMES[0]} of Intel's release 24.35 (Debian: {LEGACY_RUNTIMES[1]}) in its place; "
            "docs/board.md says how.",
        )
    if version is None and not (old and legacy):
        instead = f"only {legacy[0]}, which is for older GPUs, is" if legacy else "no compute package is"
        return f"There is {node.name}, but {instead} installed.", f"Run: sudo apt install {RUNTIME} {LOADER}"
    if LOADER not in packages:
        return f"There is {node.name} and its compute package, but no OpenCL loader.", f"Run: sudo apt install {LOADER}"
    return (
        f"There is {node.name}, but OpenVINO finds no GPU with {RUNTIME} {version or packages[legacy[0]]}.",
        "Run `clinfo -l`: if it lists no GPU either, the package is older than the GPU; install Intel's newest "
        "(docs/board.md). In a container, hand /dev/dri in.",
    )


def intel_gpus(root: Path = Path("/")) -> list[Gpu]:
    """Intel's display controllers, as the kernel found them on the PCI bus."""
    found = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        numbers = [int((device / name).read_text(encoding="ascii"), 16) for name in ("vendor", "class", "device")]
        if numbers[0] == INTEL and numbers[1] >> 16 == 0x03:  # class 03: display controller
            found.append(Gpu(numbers[2]))
    return found


def installed_packages(root: Path = Path("/")) -> dict[str, str]:
    """Debian packages that are installed, name to version; empty on other systems."""
    try:
        text = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    except OSError:
        return {}
    packages = {}
    for entry in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", entry, flags=re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            packages[fields["Package"]] = fields.get("Version", "")
    return packages


def release(version: str) -> tuple[int, ...]:
    """Year and week of a compute-runtime version: "24.35.30872.22-1" -> (24, 35)."""
    return tuple(int(number) for number in re.findall(r"\d+", version.rpartition(":")[2])[:2])
