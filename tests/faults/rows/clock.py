"""T1: somebody sets the board's clock, or nobody ever did."""

from __future__ import annotations

import itertools
import time

from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.node import CAMERA, TOPICS
from tests.faults.preload import WallClock
from tests.faults.traffic import Traffic

HOUR_S, YEAR_S = 3600, 365 * 86_400
LONGEST_PAUSE_S = 1.5  # between captions that come every 0.2 s; this machine may be busy
WATCH_S = 4.0


@fault("T1", "wall clock jumps", short=5, long=50)
def clock_jumps(harness: Harness, times: int) -> Outcome:
    """An hour on, an hour back, ten years on, to 1970, right again: captions, limits, connection go on as before.

    Each jump comes while the broker is away, too, and with a restart of the service: it makes nothing old that waits.
    """
    clock = WallClock(harness.folder)
    traffic = Traffic(harness, environ=clock.environ)
    jumps = [HOUR_S, -HOUR_S, 10 * YEAR_S, 1000 - int(time.time()), 0]
    pauses_s: list[float] = []
    codes, years = [], set()
    for number in range(times):
        with harness.fault(f"clock {jumps[number % len(jumps)]:+d} s"):
            began_s = time.monotonic()
            slow = traffic.questions.ask("slow 1", timeout_s=30)  # to be answered after the jump
            time.sleep(0.3)
            clock.set_s(jumps[number % len(jumps)])
            codes.append(traffic.questions.expect_answer(slow).code)
            time.sleep(WATCH_S)
        pauses_s.append(_longest_pause_s(traffic, began_s))
        years |= {each.values["ts"][:4] for each in traffic.listener.heard(lambda each: each.topic == TOPICS.health)}
        connects = traffic.node.log.count("mqtt connected")
        assert connects == 1, f"the node has connected {connects} times; the clock is no reason to"
        traffic.broker.stop()
        time.sleep(1)
        traffic.node.kill()
        clock.set_s(jumps[(number + 1) % len(jumps)])
        traffic.node.start()
        time.sleep(1)
        traffic.broker.start()
        traffic.works_again_s(time.monotonic())
    verdict = traffic.judged()
    timely = max(pauses_s) <= LONGEST_PAUSE_S and set(codes) == {"ok"}
    return verdict.outcome(
        times,
        also=timely and not verdict.balance.dropped and "1970" in years,
        figure=f"years {', '.join(sorted(years))} on its clock; longest pause between captions {max(pauses_s):.1f} s; "
        f"answers across a jump: {', '.join(sorted(map(str, set(codes))))}",
    )


def _longest_pause_s(traffic: Traffic, since_s: float) -> float:
    """Between two captions that came since then, but for one inference of 1 s that was asked for."""
    topic = TOPICS.caption(CAMERA)
    captions = traffic.listener.heard(lambda each: each.topic == topic and not each.retained, since_s)
    pauses_s = sorted(after.arrived_s - before.arrived_s for before, after in itertools.pairwise(captions))
    return pauses_s[-2]
