"""The clock: published times are worth something only if it is set."""

from __future__ import annotations

import ctypes
from pathlib import Path

from edge_app.checks import Check

TIMESYNC_MARK = Path("/run/systemd/timesync/synchronized")  # systemd-timesyncd touches it at each success
STA_UNSYNC = 0x40  # <linux/timex.h>


def check_clock() -> Check:
    """Whether any time daemon has set the clock."""
    if TIMESYNC_MARK.exists() or kernel_clock_is_synchronised():
        return Check("clock", "ok", "synchronised")
    return Check(
        "clock",
        "warn",
        "The clock is not synchronised, so the times in messages may be wrong.",
        "Run: sudo timedatectl set-ntp true; without the internet name a time server of the site as NTP= in "
        "/etc/systemd/timesyncd.conf (captions and answers work without it).",
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
