"""The way to the GPU, on fake roots: each fault between kernel and OpenVINO is told apart, with its own mend."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from edge_app.checks import Check
from edge_app.checks.account import Account
from edge_app.checks.gpu import check_missing_gpu, installed_packages, intel_gpus, release

ALDER_LAKE_N, ELKHART_LAKE, APOLLO_LAKE = "0x46d1", "0x4571", "0x5a85"
STRANGER = Account("edge-app", 64_000, 64_000, frozenset({64_000}))


def board(root: Path, device: str | None, packages: dict[str, str] | None = None, *, has_node: bool = True) -> Path:
    """A root folder with a GPU on the PCI bus, its render node, and Debian packages."""
    (root / "dev/dri").mkdir(parents=True)
    if device:
        pci = root / "sys/bus/pci/devices/0000:00:02.0"
        pci.mkdir(parents=True)
        for name, text in (("vendor", "0x8086"), ("class", "0x030000"), ("device", device)):
            (pci / name).write_text(f"{text}\n", encoding="ascii")
        if has_node:
            (root / "dev/dri/renderD128").touch(0o660)
    status = root / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    entries = [
        f"Package: {name}\nStatus: install ok installed\nVersion: {version}\n"
        for name, version in (packages or {}).items()
    ]
    status.write_text("\n".join(entries), encoding="utf-8")
    return root


def fault(root: Path, account: Account | None = None) -> Check:
    check = check_missing_gpu(is_wanted=True, account=account, root=root)
    assert check.status == "fail"
    assert check.what.endswith(".")
    return check


@pytest.mark.parametrize(("is_wanted", "status"), [(True, "fail"), (False, "warn")])
def test_missing_gpu_fails_only_where_it_is_asked_for(tmp_path: Path, is_wanted: bool, status: str) -> None:
    """With device = "AUTO" the CPU does the work, so a board without GPU has no fault."""
    check = check_missing_gpu(is_wanted=is_wanted, root=board(tmp_path, None))
    assert check.status == status
    assert "no Intel GPU" in check.what


def test_gpu_without_a_driver_is_told_from_no_gpu(tmp_path: Path) -> None:
    """The controller is on the bus, the render node is not there: the kernel's side is at fault."""
    check = fault(board(tmp_path, ALDER_LAKE_N, has_node=False))
    assert "8086:46d1" in check.what
    assert "nomodeset" in check.mend


def test_render_node_without_rights_names_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest fault of a new board: the user is not in the group of the render node."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert re.search(r"usermod -aG \w+ \$USER", fault(board(tmp_path, ALDER_LAKE_N)).mend)


def test_rights_are_those_of_the_services_user_where_root_asks(open_folder: Path) -> None:
    """Root may open every node; the service, which is in another group, may not, until it joins."""
    root = board(open_folder, ALDER_LAKE_N, {"intel-opencl-icd": "24.39.31294.12", "ocl-icd-libopencl1": "2.3"})
    node = root / "dev/dri/renderD128"
    node.chmod(0o660)
    check = fault(root, STRANGER)
    assert "edge-app may not open" in check.what
    assert check.mend.endswith("sudo systemctl restart edge-app")
    member = Account("edge-app", 64_000, 64_000, frozenset({node.stat().st_gid}))
    assert "may not open" not in fault(root, member).what


@pytest.mark.parametrize(
    ("device", "packages", "mend"),
    [
        (ALDER_LAKE_N, {}, "apt install intel-opencl-icd ocl-icd-libopencl1"),
        (ALDER_LAKE_N, {"intel-opencl-icd-legacy1": "24.35.30872.22"}, "apt install intel-opencl-icd"),
        (ALDER_LAKE_N, {"intel-opencl-icd": "24.39.31294.12"}, "apt install ocl-icd-libopencl1"),
        (ALDER_LAKE_N, {"intel-opencl-icd": "22.43.24595.41-1", "ocl-icd-libopencl1": "2.3"}, "clinfo -l"),
        (ELKHART_LAKE, {"intel-opencl-icd": "24.39.31294.12", "ocl-icd-libopencl1": "2.3"}, "legacy1"),
        (ELKHART_LAKE, {}, "legacy1"),
        (APOLLO_LAKE, {"intel-opencl-icd": "25.05.32567.18-1", "ocl-icd-libopencl1": "2.3"}, "legacy1"),
        (APOLLO_LAKE, {"intel-opencl-icd": "22.43.24595.41-1", "ocl-icd-libopencl1": "2.3"}, "clinfo -l"),
        (APOLLO_LAKE, {"intel-opencl-icd-legacy1": "24.35.30872.22"}, "apt install ocl-icd-libopencl1"),
        (APOLLO_LAKE, {"intel-opencl-icd-legacy": "24.35.30872.32-2", "ocl-icd-libopencl1": "2.3"}, "clinfo -l"),
    ],
)
def test_package_that_is_missing_or_does_not_fit_is_named(
    tmp_path: Path, device: str, packages: dict[str, str], mend: str
) -> None:
    """GPUs before Xe need the runtime of 24.35 or before, newer ones the other; both need the OpenCL loader."""
    assert mend in fault(board(tmp_path, device, packages)).mend


def test_other_makers_and_other_devices_are_no_intel_gpu(tmp_path: Path) -> None:
    """A network card of Intel's and a display controller of somebody else's are passed over."""
    for slot, vendor, kind in (("0", "0x8086", "0x020000"), ("1", "0x1002", "0x030000")):
        pci = tmp_path / "sys/bus/pci/devices" / slot
        pci.mkdir(parents=True)
        for name, text in (("vendor", vendor), ("class", kind), ("device", "0x46d1")):
            (pci / name).write_text(text, encoding="ascii")
    assert intel_gpus(tmp_path) == []


def test_packages_that_were_removed_are_not_installed(tmp_path: Path) -> None:
    """dpkg keeps an entry for a package whose configuration files stayed."""
    status = tmp_path / "var/lib/dpkg/status"
    status.parent.mkdir(parents=True)
    removed = "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n"
    status.write_text(f"{removed}\nPackage: b\nStatus: install ok installed\nVersion: 2\n", encoding="utf-8")
    assert installed_packages(tmp_path) == {"b": "2"}
    assert installed_packages(tmp_path / "elsewhere") == {}


def test_release_is_year_and_week() -> None:
    """An epoch and a Debian revision are no part of it."""
    assert [release(text) for text in ("24.35.30872.22-1", "1:24.39.31294.12", "22.43")] == [
        (24, 35),
        (24, 39),
        (22, 43),
    ]
