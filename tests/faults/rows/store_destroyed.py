"""S4: the file of the store is destroyed, before the start and while the service runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from edge_app.store.store import FILE_NAME
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.node import TOPICS
from tests.faults.ready import NotifySocket
from tests.faults.traffic import Traffic

READY_S = 5.0


def _random_bytes(path: Path) -> None:
    path.write_bytes(os.urandom(64 * 1024))


def _zeroed_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * 100)  # as long as SQLite's header


def _random_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(max(4096, path.stat().st_size - 4096)))


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


WAYS: tuple[Callable[[Path], None], ...] = (_random_bytes, _zeroed_header, _random_middle, _cut_short)


@fault("S4", "store destroyed", short=8, long=80, limit_s=240)
def store_destroyed(harness: Harness, times: int) -> Outcome:
    """Set aside and begun anew: ready within 5 s, and whoever asks from then on is answered.

    The odd times it is destroyed while the service runs, which is then restarted; the even ones while it does not.
    """
    notify = NotifySocket(harness.folder)
    harness.closing(notify)
    traffic = Traffic(harness, environ={"NOTIFY_SOCKET": str(notify.path)})
    store = traffic.node.state / FILE_NAME
    ready_s, recovered_s, pids = [], [], set()
    for number in range(times):
        destroy = WAYS[number // 2 % len(WAYS)]
        with harness.fault(f"store destroyed: {destroy.__name__}"):
            if number % 2:
                destroy(store)
                traffic.works_again_s(time.monotonic())  # the same process, with whatever it finds
                assert traffic.node.is_running, "the service ended when its store was destroyed"
                traffic.node.kill()
            else:
                traffic.node.kill()
                store.with_name(f"{FILE_NAME}-wal").unlink(missing_ok=True)
                destroy(store)
            began_s = time.monotonic()
            traffic.node.start()
        ready_s.append(notify.ready_s(began_s))
        recovered_s.append(traffic.works_again_s(began_s))
        pids.add(traffic.node.pid)
        traffic.listener.expect(
            lambda each: each.topic == TOPICS.health and each.values["store"]["mode"] == "disk",
            "the store to be on the disk again",
            since_s=began_s,
        )
    aside = len(list(traffic.node.state.glob(f"{FILE_NAME}.*")))
    traffic.questions.end()
    traffic.questions.expect_answers(30)
    return Outcome(
        times,
        None,
        None,
        None,
        max(recovered_s),
        passed=max(ready_s) <= READY_S and aside > 0,
        figure=f"ready within {max(ready_s):.1f} s, on the disk again each time; {aside} spoilt files kept",
    )
