"""M12, M14: too much at once: one message of 200 MB, and a thousand questions a second."""

from __future__ import annotations

import json
import time

from tests.broker import wait_until
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.judge import captions_per_s
from tests.faults.listener import Listener
from tests.faults.node import TOPICS
from tests.faults.questions import Questions

LARGE_BYTES = 200_000_000
GROWTH_MIB = 10.0
QUESTIONS_A_SECOND = 1000
QUEUE_LENGTH = 8  # the default
FLOOD_GROWTH_MIB = 40.0
ANSWERS_S = 120.0


@fault("M12", "question of 200 MB", short=2, long=10)
def large_question(harness: Harness, times: int) -> Outcome:
    """The broker does not bring it to us, since we said how much we take; the next question is answered."""
    broker = harness.broker("allow_anonymous true\nmax_packet_size 268435455")
    listener = harness.listener(broker.port)
    sender = Listener(broker.port, "nothing", name="sender")
    harness.closing(sender)
    node = harness.node(broker.port)
    node.start()
    until_captioned(listener)
    questions = Questions(listener)
    questions.expect_answer(questions.ask())
    pid, growth_mib = node.pid, []
    for number in range(times):
        before_mib = node.peak_mib(begin=True)
        with harness.fault(f"large question {number}"):
            large = sender.publish(TOPICS.ask, b"a" * LARGE_BYTES)
            wait_until(lambda mid=large: sender.is_acknowledged(mid), "the broker to take 200 MB", 60)  # type: ignore[misc]
        questions.expect_answer(questions.ask())
        growth_mib.append(node.peak_mib() - before_mib)
    passed = max(growth_mib) <= GROWTH_MIB and node.is_running and node.pid == pid
    return Outcome(
        times,
        len(questions.unanswered()),
        None,
        None,
        None,
        passed,
        f"the service's memory grows by {max(growth_mib):.1f} MiB at its peak (at most {GROWTH_MIB:g})",
    )


@fault("M14", "1,000 questions a second", short=10, long=60, alone=True, limit_s=240)
def flood_of_questions(harness: Harness, times: int) -> Outcome:
    """So many for `times` seconds: memory and queue are bounded, each is answered, captions keep half of their rate."""
    broker = harness.broker(durable=False)
    listener = harness.listener(broker.port)
    sender = Listener(broker.port, "nothing", name="sender")
    harness.closing(sender)
    node = harness.node(broker.port, {"caption": {"interval_s": 0.5}}, model="demo")
    node.start()
    until_captioned(listener)
    until_captioned(listener, since_s=time.monotonic() + 1)
    calm = captions_per_s(listener, 6.0)
    before_mib = node.peak_mib(begin=True)
    questions = Questions(sender, heard_by=listener, timeout_s=10)
    with harness.fault("flood"):
        began_s = time.monotonic()
        for number in range(times * QUESTIONS_A_SECOND):
            time.sleep(max(0.0, began_s + number / QUESTIONS_A_SECOND - time.monotonic()))
            questions.ask("is there a cup")
        sent_s = time.monotonic() - began_s
        flooded = captions_per_s(listener, sent_s, until_s=began_s + sent_s)
    questions.expect_answers(ANSWERS_S)
    growth_mib = node.peak_mib() - before_mib
    health = listener.heard(lambda arrival: arrival.topic == TOPICS.health, began_s)
    longest = max(each.values["queued_questions"] for each in health)
    codes = questions.codes()
    unanswered, twice = len(questions.unanswered()), len(questions.answered_twice())
    kept = flooded / calm
    bounded = growth_mib <= FLOOD_GROWTH_MIB and longest <= QUEUE_LENGTH
    return Outcome(
        times,
        unanswered,
        twice,
        None,
        None,
        passed=bounded and not unanswered and not twice and codes["busy"] > 0 and kept >= 0.5,
        figure=f"{questions.sent / sent_s:.0f} questions/s for {sent_s:.0f} s: {json.dumps(dict(codes))}; "
        f"captions keep {100 * kept:.0f} % of {calm:.1f}/s; memory +{growth_mib:.1f} MiB, queue at most {longest}",
    )
