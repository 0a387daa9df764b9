"""M9: what clients may do wrong to a question: retained, sent twice, out of date."""

from __future__ import annotations

import json

from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.node import TOPICS
from tests.faults.questions import Questions


@fault("M9", "retained, duplicate and stale questions", short=10, long=100)
def repeated_questions(harness: Harness, times: int) -> Outcome:
    """A retained question gets no answer, one sent twice while it is pending gets one, a late one is told `timeout`."""
    broker = harness.broker()
    listener = harness.listener(broker.port)
    # The broker gives it to the node at each connect.
    listener.publish(TOPICS.ask, json.dumps({"id": "retained", "question": "what is it"}), retain=True)
    harness.node(broker.port).start()
    until_captioned(listener)
    questions = Questions(listener)
    expected: dict[str, list[str]] = {"retained": []}
    for number in range(times):
        with harness.fault(f"questions {number}"):
            expected[questions.ask("slow 0.3", times=2)] = ["ok"]
            expected[questions.ask("slow 0.5", timeout_s=0.2)] = ["timeout"]
            last = questions.ask()
            expected[last] = ["ok"]
            questions.expect_answer(last)
    answers = questions.answers()
    got = {name: [each.code for each in answers.get(name, [])] for name in expected}
    wrong = {name: codes for name, codes in got.items() if codes != expected[name]}
    return Outcome(
        times,
        lost=sum(len(got[name]) < len(expected[name]) for name in expected),
        duplicates=sum(max(0, len(got[name]) - len(expected[name])) for name in expected),
        detected_s=None,
        recovered_s=None,
        passed=not wrong,
        figure=f"{len(expected)} questions, {len(wrong)} not answered as they should {wrong or ''}",
    )
