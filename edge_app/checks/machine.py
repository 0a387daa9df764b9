"""The machine under the service: Python, packages, memory."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from edge_app.checks import Check, Status

# What pyproject.toml asks for; a test compares the two.
LEAST_VERSIONS: dict[str, tuple[int, ...]] = {
    "openvino": (2026, 1),
    "opencv-python": (5, 0),
    "numpy": (2, 0),
    "tokenizers": (0, 22),
    "paho-mqtt": (2, 2),
    "pydantic": (2, 10),
    "Pillow": (11,),
    "cryptography": (43,),
}
LEAST_PYTHON = (3, 11)

INSTALLED = Path("/opt/edge-app")  # where systemd/install.sh puts the program

FEW_MEMORY_MIB, TOO_FEW_MEMORY_MIB = 1500, 500  # a BLIP-base pair in INT8 takes about 1 GiB while it loads


def check_machine() -> Iterator[Check]:
    """All checks of this file."""
    yield check_python()
    for package, least in LEAST_VERSIONS.items():
        yield check_package(package, least)
    yield check_memory()


def check_python() -> Check:
    """The interpreter that runs us is the one that runs the service."""
    name, found = "python", platform.python_version()
    if sys.version_info < LEAST_PYTHON:
        wanted = ".".join(map(str, LEAST_PYTHON))
        return Check(name, "fail", f"Python {found}", f"Install Python {wanted} or newer.")
    return Check(name, "ok", f"{found} at {sys.executable}")


def is_installed() -> bool:
    """Whether this is the program that systemd/install.sh has put onto a board; its Python has no pip."""
    return Path(sys.prefix).resolve().is_relative_to(INSTALLED)


def install(requirement: str) -> str:
    """What installs a package; on a board it comes with the kit."""
    if is_installed():
        return (
            "On a workstation make the kit anew (systemd/make-wheelhouse.sh, docs/board.md); carry it here, and run in "
            "it: sudo sh systemd/install.sh"
        )
    return f"Run: pip install '{requirement}'"


def check_package(package: str, least: tuple[int, ...]) -> Check:
    """An installed package of at least version `least`."""
    wanted = ".".join(map(str, least))
    mend = install(f"{package}>={wanted}")
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        return Check(package, "fail", "not installed", mend)
    if version_numbers(found) < least:
        return Check(package, "fail", f"{found} is older than {wanted}", mend)
    return Check(package, "ok", found)


def version_numbers(version: str) -> tuple[int, ...]:
    """The release part of a version as numbers: "5.0.0.93" -> (5, 0, 0, 93), "2.4rc1" -> (2, 4)."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, release.group().split("."))) if release else ()


def check_memory(meminfo: Path = Path("/proc/meminfo")) -> Check:
    """Memory that can be had without swapping."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
    free_mib = int(fields["MemAvailable"].split()[0]) // 1024  # the kernel says kB and means KiB
    total_mib = int(fields["MemTotal"].split()[0]) // 1024
    found = f"{free_mib} of {total_mib} MiB available"
    if free_mib < FEW_MEMORY_MIB:
        status: Status = "fail" if free_mib < TOO_FEW_MEMORY_MIB else "warn"
        return Check("memory", status, f"Only {found}.", "End other programs, or load one bundle only.")
    return Check("memory", "ok", found)
