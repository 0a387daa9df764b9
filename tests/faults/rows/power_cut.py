"""S1: the power is cut while the store is being written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from edge_app.store.store import FILE_NAME
from tests.broker import wait_until
from tests.faults.disk import Ext4Disk
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.store_writer import Kept, messages_in

CONTROL_CUTS = 5


@fault("S1", "power cut", short=100, long=1000)
def power_cut(harness: Harness, times: int) -> Outcome:
    """Whatever was committed is there after the cut, and the store opens as it is.

    The disk after the cut is what its device has: ext4 in a file behind a loop device. What waits in the kernel's cache
    for its turn to be written is not there. The control writes without waiting for the disk, and must lose messages:
    otherwise this machine would show nothing.
    """
    disk = Ext4Disk(harness.new_folder("disk"), harness.folder / "disk.img")
    after = harness.new_folder("after")
    missing, spoilt = _cuts(disk, after, times, random.Random(1), ())
    control, _ = _cuts(disk, after, CONTROL_CUTS, random.Random(2), ("careless",))
    disk.close()
    return Outcome(
        times,
        missing,
        None,
        None,
        None,
        passed=not missing and not spoilt and control > 0,
        figure=f"{times} cuts: {missing} committed messages lost, {spoilt} stores that did not open; "
        f"control without waiting for the disk: {control} lost in {CONTROL_CUTS}",
    )


def _cuts(disk: Ext4Disk, after: Path, times: int, chance: random.Random, how: tuple[str, ...]) -> tuple[int, int]:
    """`(messages lost, stores that did not open)` in so many power cuts of one writer."""
    folder = disk.path / ("careless" if how else "store")
    command = [sys.executable, "-m", "tests.faults.store_writer", str(folder), *how]
    missing = spoilt = 0
    kept = Kept()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        os.set_blocking(writer.stdout.fileno(), False)
        wait_until((folder / FILE_NAME).exists, "the writer to write")
        for _ in range(times):
            time.sleep(chance.uniform(0.01, 0.1))
            writer.send_signal(signal.SIGSTOP)
            wait_until(lambda: _is_stopped(writer.pid), "the writer to stop")
            kept.read(writer.stdout.read() or b"")
            cut = disk.after_power_cut(after)
            found, was_spoilt = messages_in(after / folder.name)
            missing += len(kept.ids - found)
            spoilt += was_spoilt
            cut.close()
            writer.send_signal(signal.SIGCONT)
        writer.kill()
    return missing, spoilt


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"
