"""What the service knows of its own condition: stage times, memory, temperature, and a watchdog fed by progress."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections import deque
from collections.abc import Mapping
from pathlib import Path

WINDOW = 256  # newest times kept a stage: 20 minutes of captions every 5 s
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
THERMAL_ROOT = Path("/sys/class/thermal")


class StageTimes:
    """The newest times of each stage, and their median and 95th percentile."""

    def __init__(self) -> None:
        self._windows: dict[str, deque[float]] = {}

    def add(self, stage_ms: Mapping[str, float | None]) -> None:
        """Count one inference; a stage that did not run (None) does not count."""
        for stage, time_ms in stage_ms.items():
            if time_ms is not None:
                self._windows.setdefault(stage, deque(maxlen=WINDOW)).append(time_ms)

    def summary(self) -> dict[str, dict[str, float]]:
        """`{stage: {"p50", "p95", "n"}}`, times in ms."""
        return {
            stage: {"p50": nearest_rank(times, 0.50), "p95": nearest_rank(times, 0.95), "n": len(times)}
            for stage, times in ((stage, sorted(window)) for stage, window in self._windows.items())
        }


def nearest_rank(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; `ordered` is not empty."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Watchdog:
    """Feed systemd's watchdog only while every critical thread keeps its promise.

    A timer that fires proves nothing. Each critical thread but the feeding one says by when it will report next, at the
    latest (an inference may take its deadline, not longer). One promise broken, and systemd is left to restart the
    service.
    A missing camera or broker is a degraded condition and breaks no promise.
    """

    def __init__(self, notifier: Notifier, interval_s: float | None) -> None:
        self._notifier = notifier
        self._interval_s = interval_s  # None: systemd asked for no watchdog
        self._promises: dict[str, float] = {}  # thread: monotonic time; each item has one writer
        self._fed_s = -math.inf

    def promise(self, thread: str, by_s: float) -> None:
        """Note that `thread` reports again before `by_s` (monotonic clock). Called by that thread."""
        self._promises[thread] = by_s

    def broken(self, now_s: float) -> list[str]:
        """The threads that are overdue."""
        return sorted(thread for thread, by_s in list(self._promises.items()) if now_s > by_s)

    def feed(self, now_s: float) -> bool:
        """Feed systemd if it is time and no promise is broken; tell whether it was fed."""
        if self._interval_s is None or now_s - self._fed_s < self._interval_s or self.broken(now_s):
            return False
        self._notifier.send("WATCHDOG=1")
        self._fed_s = now_s
        return True


def watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """Half of systemd's WatchdogSec, or None when it asks for no watchdog of this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        limit_us = int(environ.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return limit_us / 2e6 if limit_us > 0 else None


class Notifier:
    """sd_notify: tell systemd how we are, over the datagram socket that it named; without one, tell nobody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@name" is an abstract socket: the kernel writes its name with a zero byte in front.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def send(self, *assignments: str) -> None:
        """Send lines such as `READY=1`; a systemd that does not listen changes nothing for us."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(assignments).encode(), self._address)


def rss_mib(pid: int | None = None) -> float | None:
    """Resident memory of a process (default: this one) in MiB; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid or 'self'}/statm").read_text(encoding="ascii").split()
    except OSError:
        return None
    return round(int(fields[1]) * PAGE_BYTES / 2**20, 1)


def temperature_c(root: Path = THERMAL_ROOT) -> float | None:
    """The warmest thermal zone in degrees Celsius; None where none can be read."""
    warmest: float | None = None
    for zone in root.glob("thermal_zone*/temp"):
        try:
            degrees = int(zone.read_text(encoding="ascii")) / 1000  # the kernel counts in thousandths
        except (OSError, ValueError):
            continue  # a zone without a sensor behind it
        warmest = degrees if warmest is None else max(warmest, degrees)
    return warmest
