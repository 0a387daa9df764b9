"""M1, M2, M3: the broker is restarted, killed, stopped."""

from __future__ import annotations

import random
import signal
import time

from tests.faults.capture import CaptureWatch
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.proxy import Proxy
from tests.faults.traffic import Traffic

BACK_S = 35.0  # the longest back-off, with its jitter, and a connect
KEEPALIVE_S = 5


@fault("M1", "broker restarts", short=3, long=10, limit_s=180)
def broker_restarts(harness: Harness, times: int) -> Outcome:
    """The broker ends by SIGTERM and comes back after 1 to 60 s: nothing is lost, hardly anything comes twice."""
    traffic = Traffic(harness)
    chance = random.Random(1)
    recovered_s = []
    for number in range(times):
        with harness.fault(f"broker away {number}"):
            traffic.broker.stop()
            time.sleep(chance.uniform(1, min(60, 3 * times)))
            traffic.broker.start()
        recovered_s.append(traffic.works_again_s(harness.spells[-1].ended_s))
    return traffic.judged().outcome(
        times, duplicate_share=0.01, recovered_s=recovered_s, also=max(recovered_s) <= BACK_S
    )


@fault("M2", "broker killed with -9", short=4, long=10, limit_s=180)
def broker_is_killed(harness: Harness, times: int) -> Outcome:
    """What the broker had not acknowledged when it was killed comes later; what it had, it may have lost itself.

    One message for each kill at most: mosquitto writes at every change, but acknowledges before it has.
    """
    broker = harness.broker()
    witness = Proxy(broker.port)
    harness.closing(witness)
    traffic = Traffic(harness, broker=broker, node_port=witness.port)
    recovered_s = []
    for number in range(times):
        time.sleep(1.5)
        with harness.fault(f"broker killed {number}"):
            broker.signal(signal.SIGKILL)
            broker.start()
        recovered_s.append(traffic.works_again_s(harness.spells[-1].ended_s))
    verdict = traffic.judged()
    received = set(traffic.listener.counts(lambda _: True))
    lost_by_broker = len(witness.acknowledged - received)
    lost = verdict.balance.lost - lost_by_broker
    return Outcome(
        times,
        lost,
        verdict.duplicates,
        None,
        max(recovered_s),
        passed=lost == 0 and max(recovered_s) <= BACK_S and not verdict.answered_twice and lost_by_broker <= times,
        figure=f"{verdict}; {lost_by_broker} of them lost by the broker after its PUBACK",
    )


@fault("M3", "half-open connection", short=1, long=10, alone=True)
def broker_stops(harness: Harness, times: int) -> Outcome:
    """A broker that is stopped holds its connection open: that is seen within two keepalives, and capture goes on."""
    traffic = Traffic(harness, {"mqtt": {"keepalive_s": KEEPALIVE_S}, "camera": {"fps": 30}})
    detected_s, recovered_s, pauses_ms, before_ms = [], [], [], []
    for number in range(times):
        with CaptureWatch(traffic.node) as watch:
            time.sleep(2 * KEEPALIVE_S)
        before_ms.append(watch.longest_pause_ms)
        with harness.fault(f"broker stopped {number}"), CaptureWatch(traffic.node) as watch:
            began_s = time.monotonic()
            traffic.broker.signal(signal.SIGSTOP)
            traffic.node.expect_log("mqtt problem", number + 1, timeout_s=4 * KEEPALIVE_S)
            detected_s.append(time.monotonic() - began_s)
            traffic.broker.signal(signal.SIGCONT)
        pauses_ms.append(watch.longest_pause_ms)
        recovered_s.append(traffic.works_again_s(harness.spells[-1].ended_s))
    longer_ms = max(during - before for during, before in zip(pauses_ms, before_ms, strict=True))
    return traffic.judged().outcome(
        times,
        detected_s=detected_s,
        recovered_s=recovered_s,
        also=max(detected_s) <= 2 * KEEPALIVE_S + 1 and longer_ms <= 100,  # the node looks once a second
        figure=f"keepalive {KEEPALIVE_S} s; longest pause between two frames {max(pauses_ms):.0f} ms, before the fault "
        f"{max(before_ms):.0f} ms",
    )
