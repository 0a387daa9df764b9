"""M6, M8: the service is killed with -9, at any moment, and while a question waits for its answer."""

from __future__ import annotations

import random
import time

from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.questions import Questions
from tests.faults.traffic import Traffic


@fault("M6", "service killed with -9", short=20, long=100, alone=True, limit_s=240)
def service_is_killed(harness: Harness, times: int) -> Outcome:
    """Killed 0.5 to 2 s after it is back, and at times while it starts: nothing is lost, few messages come twice."""
    # A message in flight at a kill comes twice, so the share depends on the kills, and more messages tell it better.
    traffic = Traffic(harness, {"caption": {"interval_s": 0}}, ask_every_s=0.1)
    chance = random.Random(6)
    recovered_s = []
    for number in range(times):
        with harness.fault(f"kill -9 {number}"):
            traffic.node.kill()
            traffic.node.start()
        if number % 4 == 3:
            time.sleep(chance.uniform(0.1, 1.0))  # it may not have come further than to open its store
        else:
            recovered_s.append(traffic.works_again_s(harness.spells[-1].ended_s))
            time.sleep(chance.uniform(0.5, 2.0))
    verdict = traffic.judged()
    share = verdict.balance.duplicate_share
    return verdict.outcome(times, recovered_s=recovered_s, figure=f"{100 * share:.1f} % duplicates")


@fault("M8", "kill -9 during a question", short=10, long=50, limit_s=180)
def killed_during_a_question(harness: Harness, times: int) -> Outcome:
    """Killed from the moment a question is sent until after it was begun: one answer, with one id, every time."""
    broker = harness.broker()
    listener = harness.listener(broker.port)
    node = harness.node(broker.port)
    node.start()
    until_captioned(listener)
    questions = Questions(listener)
    chance = random.Random(8)
    recovered_s = []
    for number in range(times):
        name = questions.ask("slow 0.4")
        time.sleep(chance.uniform(0, 0.5))
        with harness.fault(f"kill -9 {number}"):
            node.kill()
            node.start()
        questions.expect_answer(name)
        recovered_s.append(time.monotonic() - harness.spells[-1].ended_s)
        until_captioned(listener, since_s=time.monotonic())
    answers = questions.answers()
    twice = questions.answered_twice()
    copies = sum(len(came) - 1 for came in answers.values())
    unanswered = len(questions.unanswered())
    codes = questions.codes()
    return Outcome(
        times,
        unanswered,
        copies,
        None,
        max(recovered_s),
        passed=not unanswered and not twice and codes["ok"] == times and len(answers) == times,
        figure=f"{len(questions.asked)} questions: {dict(codes)}, {len(twice)} with two answer ids",
    )
