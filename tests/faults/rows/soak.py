"""L1: work for a long time, with a broker that restarts every 20 s and a camera that stalls every 30 s."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tests.fake_camera import FakeCamera
from tests.faults.endurance import Record
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.judge import through_the_outbox
from tests.faults.node import Settings
from tests.faults.traffic import Traffic

Action = Callable[[], None]
CAPTION_EVERY_S = 0.1
ASK_EVERY_S = 1.0  # one question for ten captions
BROKER_EVERY_S, BROKER_AWAY_S = 20.0, 2.0
STALL_EVERY_S, STALL_S = 30.0, 5.0
SAMPLE_EVERY_S = 1.0


@fault("L1", "soak", short=300, long=2000, alone=True, limit_s=240)
def soak(harness: Harness, times: int) -> Outcome:
    """`times` frames through the real model, a tenth as many questions: the accounts balance and nothing grows.

    Flat is: the line through the samples after the warm-up rises by at most 10 % of the service's memory and 3 % of its
    children's, and by less than half a descriptor or thread (endurance.py).
    """
    camera = FakeCamera(harness.new_folder("camera"))
    settings: Settings = {
        "caption": {"interval_s": CAPTION_EVERY_S},
        "camera": {"source": f"v4l2:{camera.path}", "fps": 25, "stall_s": 3},
    }
    traffic = Traffic(harness, settings, ask_every_s=ASK_EVERY_S, model="demo", environ=camera.environ)
    pid, record = traffic.node.pid, Record()
    faults = _Faults(traffic, camera, record)
    next_sample_s = 0.0
    while (
        (captions := _captions(traffic)) < times
        or traffic.questions.sent < times // 10
        or faults.is_on
        or len(faults.kinds) < 2
    ):
        now_s = faults.turn()
        if now_s >= next_sample_s:
            record.take(traffic.node, now_s, captions)
            next_sample_s = now_s + SAMPLE_EVERY_S
        time.sleep(0.05)
    verdict = traffic.judged()
    record.take(traffic.node, faults.now_s, _captions(traffic))
    last = record.samples[-1]
    growing, rises = record.growing(), record.rises()
    memory = ", ".join(
        f"{name} {rises[key]:+.1f} of {last[key]:.0f} MiB"
        for name, key in (("service", "service_mib"), ("its children", "children_mib"))
    )
    same = traffic.node.is_running and traffic.node.pid == pid
    title = f"{record.captions[-1][1]} captions, {verdict.asked} questions, {len(record.spells)} faults: {verdict}"
    harness.keep("endurance.json", json.dumps({"title": title, **record.values()}))
    return verdict.outcome(
        times,
        also=not growing and same and len(faults.kinds) == 2,
        figure=f"{len(record.spells)} faults, {faults.now_s:.0f} s; {memory}, descriptors {rises['descriptors']:+.1f}, "
        f"threads {rises['threads']:+.1f}",
    )


class _Faults:
    """Two faults, each with its own beat."""

    def __init__(self, traffic: Traffic, camera: FakeCamera, record: Record) -> None:
        self._began_s = time.monotonic()
        self._record = record
        self._beats = [
            _Beat("broker away", BROKER_EVERY_S, BROKER_AWAY_S, traffic.broker.stop, traffic.broker.start),
            _Beat("camera stalls", STALL_EVERY_S, STALL_S, lambda: camera.tell("stall"), lambda: camera.tell("play")),
        ]

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_s

    @property
    def is_on(self) -> bool:
        """Whether a fault has begun and not ended."""
        return any(beat.since_s is not None for beat in self._beats)

    @property
    def kinds(self) -> set[str]:
        """Which faults there have been."""
        return {kind for kind, _, _ in self._record.spells}

    def turn(self) -> float:
        """Begin and end what is due; the time."""
        now_s = self.now_s
        for beat in self._beats:
            if spell := beat.turn(now_s):
                self._record.spells.append(spell)
        return now_s


class _Beat:
    """A fault that begins every so often, and ends after a while."""

    def __init__(self, kind: str, every_s: float, lasts_s: float, begin: Action, end: Action) -> None:
        self._kind, self._every_s, self._lasts_s, self._begin, self._end = kind, every_s, lasts_s, begin, end
        self._next_s = every_s
        self.since_s: float | None = None

    def turn(self, now_s: float) -> tuple[str, float, float] | None:
        """Begin or end it if that is due; a spell that has ended."""
        if self.since_s is None and now_s >= self._next_s:
            self._begin()
            self.since_s, self._next_s = now_s, now_s + self._every_s
        elif self.since_s is not None and now_s >= self.since_s + self._lasts_s:
            self._end()
            spell = (self._kind, round(self.since_s, 2), round(now_s, 2))
            self.since_s = None
            return spell
        return None


def _captions(traffic: Traffic) -> int:
    """Different captions that have come."""
    return len(traffic.listener.counts(lambda each: through_the_outbox(each) and each.topic.endswith("/history")))
