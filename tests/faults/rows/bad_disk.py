"""S2, S3, S5: the disk of the store is full, fails now and then, becomes read-only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.broker import wait_until
from tests.faults.disk import Ext4Disk, memory_disk
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.judge import captions_per_s
from tests.faults.node import TOPICS
from tests.faults.preload import FailingDisk
from tests.faults.store_writer import Kept, messages_in
from tests.faults.traffic import Traffic

FULL_S = 12.0
BACK_S = 10.0
FAILING_S = 20.0
WRITING_S = 7.0  # a failed commit is tried again after 5 s


def store_mode(traffic: Traffic, mode: str, since_s: float, timeout_s: float = 20) -> float:
    """Wait until `health` says `disk` or `memory`; when it did (monotonic)."""
    health = traffic.listener.expect(
        lambda each: each.topic == TOPICS.health and each.values["store"]["mode"] == mode,
        f"the store to work in {mode}",
        since_s=since_s,
        timeout_s=timeout_s,
    )
    return health.arrived_s


@fault("S2", "disk full", short=2, long=20)
def disk_full(harness: Harness, times: int) -> Outcome:
    """On a full disk of 2 MB the node works on, in memory, says so, and is back on the disk when there is room."""
    disk = memory_disk(harness.new_folder("disk"), "2m")
    traffic = Traffic(harness, state=disk.path)
    pid = traffic.node.pid
    detected_s, recovered_s = [], []
    for number in range(times):
        with harness.fault(f"disk full {number}"):
            began_s = time.monotonic()
            disk.fill()
            detected_s.append(store_mode(traffic, "memory", began_s) - began_s)
            time.sleep(max(0.0, began_s + FULL_S - time.monotonic()))
            until_captioned(traffic.listener, since_s=time.monotonic())
            traffic.works_again_s(began_s)
            disk.make_room()
        ended_s = harness.spells[-1].ended_s
        recovered_s.append(store_mode(traffic, "disk", ended_s) - ended_s)
    same = traffic.node.pid == pid and traffic.node.is_running
    return traffic.judged().outcome(
        times,
        duplicate_share=0.01,
        detected_s=detected_s,
        recovered_s=recovered_s,
        also=same and max(recovered_s) <= BACK_S,
        figure="same process, captions and answers all the time",
    )


@fault("S3", "random disk errors", short=5, long=50)
def random_disk_errors(harness: Harness, times: int) -> Outcome:
    """ENOSPC and EIO now and then: after kill -9 every row is there whose commit was said to be done.

    So for a writer that is killed `times` times; and for a service, which answers everything and keeps its accounts.
    """
    disk = FailingDisk(harness.folder, seed=3)
    folder = harness.new_folder("store")
    missing = spoilt = rows = 0
    for number in range(times):
        with harness.fault(f"failing disk {number}"):
            kept = Kept()
            kept.read(_killed_writer(folder / str(number), disk.environ(folder, 0.002)))
        found, was_spoilt = messages_in(folder / str(number))
        missing += len(kept.ids - found)
        spoilt += was_spoilt
        rows += len(kept.ids)
    with harness.fault("failing disk of a service"):
        state = harness.new_folder("state")
        traffic = Traffic(harness, state=state, environ=disk.environ(state, 0.02))
        time.sleep(FAILING_S)
        verdict = traffic.judged()
    problems = traffic.node.log.count("store works in memory")
    lost = missing + verdict.lost
    return Outcome(
        times,
        lost,
        verdict.duplicates,
        None,
        None,
        passed=not lost and not spoilt and verdict.passed(0.02) and problems > 0 and rows > 0,
        figure=f"{missing} of {rows} rows missing after kill -9, {spoilt} stores spoilt; a service that was "
        f"{problems} times in memory: {verdict}",
    )


def _killed_writer(folder: Path, failing: dict[str, str]) -> bytes:
    """What a writer said until it was killed."""
    command = [sys.executable, "-m", "tests.faults.store_writer", str(folder)]
    with subprocess.Popen(command, env={**os.environ, **failing}, stdout=subprocess.PIPE) as writer:
        killer = threading.Timer(WRITING_S, writer.kill)
        killer.start()
        return writer.communicate()[0]


@fault("S5", "read-only state folder", short=1, long=10)
def read_only(harness: Harness, times: int) -> Outcome:
    """The disk fails and is read-only from then on: captions and answers go on, in memory, even after a restart."""
    figures, detected_s = [], []
    for number in range(times):
        disk = Ext4Disk(harness.new_folder("disk"), harness.folder / f"disk{number}.img")
        traffic = Traffic(harness, state=disk.path)
        calm = captions_per_s(traffic.listener, 4.0)
        with harness.fault(f"read-only {number}"):
            began_s = time.monotonic()
            disk.fail()
            detected_s.append(store_mode(traffic, "memory", began_s) - began_s)
            kept = captions_per_s(traffic.listener, 4.0) / calm
            traffic.works_again_s(began_s)
            traffic.node.stop()
            restarted_s = time.monotonic()
            traffic.node.start()
            store_mode(traffic, "memory", restarted_s)
            traffic.works_again_s(restarted_s)
            until_captioned(traffic.listener, since_s=restarted_s)
        traffic.questions.end()
        traffic.questions.expect_answers(20)
        figures.append((kept, len(traffic.questions.unanswered())))
        wait_until(lambda node=traffic.node: node.is_running, "the service to run")  # type: ignore[misc]
        traffic.node.stop()
    kept, unanswered = min(kept for kept, _ in figures), sum(unanswered for _, unanswered in figures)
    return Outcome(
        times,
        unanswered,
        None,
        max(detected_s),
        None,
        passed=kept >= 0.8 and not unanswered,
        figure=f"captions keep {100 * kept:.0f} % of their rate; all is answered, before and after a restart",
    )
