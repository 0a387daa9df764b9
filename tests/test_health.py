"""Health: percentiles, promises of threads, systemd's socket, sensors."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from edge_app.health import (
    WINDOW,
    Notifier,
    StageTimes,
    Watchdog,
    nearest_rank,
    rss_mib,
    temperature_c,
    watchdog_interval_s,
)


def test_percentiles_by_nearest_rank() -> None:
    """Of 1..20, half are at most 10 (rank ceil(0.5 * 20) = 10), 95 % at most 19 (rank 19); of one value, itself."""
    values = [float(value) for value in range(1, 21)]
    assert (nearest_rank(values, 0.5), nearest_rank(values, 0.95)) == (10, 19)
    assert (nearest_rank([7.0], 0.5), nearest_rank([7.0], 0.95)) == (7, 7)


def test_only_the_newest_times_of_stages_that_ran_count() -> None:
    """A stage that did not run has no time; old times leave the window."""
    times = StageTimes()
    for _ in range(10):
        times.add({"vision": 1000.0, "question": None})
    for _ in range(WINDOW):
        times.add({"vision": 100.0, "question": None})
    assert times.summary() == {"vision": {"p50": 100, "p95": 100, "n": WINDOW}}


class Systemd:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.setblocking(False)

    def told(self) -> list[str]:
        lines: list[str] = []
        try:
            while True:
                lines += self._socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return lines

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_systemd_hears_us_on_either_kind_of_socket(tmp_path: Path, kind: str) -> None:
    """NOTIFY_SOCKET is a path, or "@name" for an abstract socket."""
    name = f"edge-app-test-{os.getpid()}"
    systemd = Systemd(str(tmp_path / "notify") if kind == "file" else f"\0{name}")
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify") if kind == "file" else f"@{name}"})
    notifier.send("READY=1", "STATUS=fine")
    assert systemd.told() == ["READY=1", "STATUS=fine"]
    systemd.close()


def test_nobody_listening_is_no_error(tmp_path: Path) -> None:
    """Without systemd, or with one that is gone, nothing happens."""
    Notifier({}).send("READY=1")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).send("READY=1")


def test_the_watchdog_is_fed_only_while_every_promise_is_kept(tmp_path: Path) -> None:
    """An inference may take until its deadline; one thread overdue, and the feed stops, however busy the others."""
    systemd = Systemd(str(tmp_path / "notify"))
    watchdog = Watchdog(Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}), interval_s=5)
    watchdog.promise("main", 1000)
    watchdog.promise("model", 130)
    assert watchdog.feed(100)
    assert not watchdog.feed(104), "fed again before it is time"
    assert watchdog.feed(129)
    watchdog.promise("main", 2000)
    assert not watchdog.feed(140)
    assert watchdog.broken(140) == ["model"]
    watchdog.promise("model", 170)
    assert watchdog.feed(141)
    assert systemd.told() == ["WATCHDOG=1"] * 3
    systemd.close()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_of_systemds_limit(environ: dict[str, str], expected: float | None) -> None:
    """WATCHDOG_USEC is ours only if WATCHDOG_PID says so or is absent (sd_watchdog_enabled(3))."""
    assert watchdog_interval_s(environ) == expected


def test_without_a_watchdog_nothing_is_fed(tmp_path: Path) -> None:
    """A service without WatchdogSec is not watched."""
    assert not Watchdog(Notifier({}), None).feed(0)


def test_memory_of_a_process_is_read() -> None:
    """This interpreter takes more than 5 MiB; a process that is gone takes none."""
    mine = rss_mib()
    assert mine is not None and mine > 5
    assert rss_mib(2**22 + 1) is None  # above the kernel's largest process id


def test_the_warmest_readable_zone_counts(tmp_path: Path) -> None:
    """Thousandths of a degree; a zone that cannot be read is passed over; none at all is None."""
    assert temperature_c(tmp_path) is None
    for number, text in enumerate(["51000", "48500", "", "error"]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}/temp").write_text(text, encoding="ascii")
    assert temperature_c(tmp_path) == 51
