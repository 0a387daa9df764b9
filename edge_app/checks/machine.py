"""The machine under the service: Python, packages, clock, disk, memory."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
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

FEW_DISK_MIB, TOO_FEW_DISK_MIB = 1024, 100  # a compiled BLIP-base takes 400 MiB of cache
FEW_MEMORY_MIB, TOO_FEW_MEMORY_MIB = 1500, 500  # a BLIP-base pair in INT8 takes about 1 GiB while it loads

TIMESYNC_MARK = Path("/run/systemd/timesync/synchronized")  # systemd-timesyncd touches it at each success
STA_UNSYNC = 0x40  # <linux/timex.h>


def check_machine(folders: list[Path]) -> Iterator[Check]:
    """All checks of this file; `folders` are those that the service writes to."""
    yield check_python()
    for package, least in LEAST_VERSIONS.items():
        yield check_package(package, least)
    yield check_clock()
    for folder in folders:
        yield check_disk(folder)
    yield check_memory()


def check_python() -> Check:
    """The interpreter that runs us is the one that runs the service."""
    name, found = "python", platform.python_version()
    if sys.version_info < LEAST_PYTHON:
        wanted = ".".join(map(str, LEAST_PYTHON))
        return Check(name, "fail", f"Python {found}", f"Install Python {wanted} or newer.")
    return Check(name, "ok", f"{found} at {sys.executable}")


def check_package(package: str, least: tuple[int, ...]) -> Check:
    """An installed package of at least version `least`."""
    wanted = ".".join(map(str, least))
    mend = f"Run: pip install '{package}>={wanted}'"
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


def check_clock() -> Check:
    """Published times are worth something only if the clock is set."""
    if TIMESYNC_MARK.exists() or kernel_clock_is_synchronised():
        return Check("clock", "ok", "synchronised")
    return Check(
        "clock",
        "warn",
        "The clock is not synchronised, so the times in messages may be wrong.",
        "Run: timedatectl set-ntp true (captions and answers work without it).",
    )


class Timex(ctypes.Structure):
    """The beginning of `struct timex` (adjtimex(2)); `rest` covers what follows."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("rest", ctypes.c_char * 256),
    )


def kernel_clock_is_synchronised() -> bool:
    """Whether any time daemon keeps the kernel's clock."""
    values = read_timex()
    return values is not None and not values.status & STA_UNSYNC


def read_timex() -> Timex | None:
    """What the kernel knows of its clock; None where it may not be asked (some containers)."""
    values = Timex()  # modes = 0: read, change nothing
    return values if ctypes.CDLL(None).adjtimex(ctypes.byref(values)) >= 0 else None


def check_disk(folder: Path) -> Check:
    """Room and the right to write in a folder that the service writes to."""
    name = f"disk {folder}"
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free_mib = shutil.disk_usage(existing).free // 2**20
    if not os.access(existing, os.W_OK):
        return Check(
            name, "fail", f"{existing} cannot be written by this user.", f"Run: sudo install -d -o $USER {folder}"
        )
    if free_mib < FEW_DISK_MIB:
        status: Status = "fail" if free_mib < TOO_FEW_DISK_MIB else "warn"
        return Check(name, status, f"Only {free_mib} MiB are free.", f"Free {FEW_DISK_MIB} MiB or name another folder.")
    return Check(name, "ok", f"{free_mib} MiB free")


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
