"""M7: more messages than the store may hold."""

from __future__ import annotations

import time

from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.faults.judge import through_the_outbox
from tests.faults.node import TOPICS, Settings
from tests.faults.traffic import Traffic

AWAY_S = 30.0  # captions of 10 kB, and the store holds a hundred: full on a slow machine, too


@fault("M7", "outbox full", short=1, long=10)
def outbox_full(harness: Harness, times: int) -> Outcome:
    """A store of 1 MB and no broker: the oldest captions go, each is counted and told, and the accounts are exact."""
    settings: Settings = {
        "store": {"limit_mib": 1},
        "caption": {"interval_s": 0, "prompt": "babble"},
        "camera": {"fps": 100},
    }
    traffic = Traffic(harness, settings)
    recovered_s = []
    for number in range(times):
        with harness.fault(f"broker away {number}"):
            traffic.broker.stop()
            time.sleep(AWAY_S)
            traffic.broker.start()
        recovered_s.append(traffic.works_again_s(harness.spells[-1].ended_s))
    verdict = traffic.judged()
    gaps = traffic.listener.heard(
        lambda each: each.topic == f"{TOPICS.root}/event" and each.values["event_type"] == "gap"
    )
    told = sum({gap.msg_id: gap.values["dropped"] for gap in gaps}.values())
    answers = traffic.listener.heard(lambda each: through_the_outbox(each) and each.values.get("type") == "answer")
    dropped = verdict.balance.dropped
    return verdict.outcome(
        times,
        recovered_s=recovered_s,
        also=0 < dropped == told,
        figure=f"{told} of {dropped} dropped captions told in {len(gaps)} gap events, {len(answers)} answers came",
    )
