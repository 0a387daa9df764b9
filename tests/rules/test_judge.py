"""From answers to states and events, whatever the answers: properties first, then cases worked out by hand."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from edge_app.rules.judge import LEAST_MASS, NO_ANSWER, OFF_TOPIC, UNDECIDED, Judge, RuleEvent, State
from edge_app.rules.rule import RuleConfig

Answer = tuple[float | None, float | None]  # P(yes), P(yes) + P(no)
YES, NO, BETWEEN, OFF = (0.95, 1.0), (0.05, 1.0), (0.5, 1.0), (0.95, 0.01)


def rule(**values: Any) -> RuleConfig:
    given = {"threshold_on": 0.7, "threshold_off": 0.3, "consecutive": 2, **values}
    return RuleConfig(id="cup", question="is there a cup?", **given)


def states(judge: Judge, answers: list[Answer]) -> list[State]:
    """The state after each answer, one a second."""
    found = []
    for now_s, (p_yes, mass) in enumerate(answers):
        judge.judge(p_yes, mass, now_s)
        found.append(judge.state)
    return found


rules = st.builds(
    lambda low, high, consecutive, cooldown_s: rule(
        threshold_on=max(low, high), threshold_off=min(low, high), consecutive=consecutive, cooldown_s=cooldown_s
    ),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 4),
    st.sampled_from([0.0, 2.0, 5.0]),
)
shares = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]))
answers = st.lists(st.one_of(st.tuples(shares, st.sampled_from([1.0, 0.01])), st.just((None, None)), st.none()))


@given(rules, answers)
def test_a_state_always_has_its_grounds(standing: RuleConfig, feed: list[Answer | None]) -> None:
    """A change to ON, OFF or unknown needs the last answers in a row to say just that; None in the feed: an outage."""
    judge = Judge(standing)
    row: list[Answer] = []
    for now_s, answer in enumerate(feed):
        before = judge.state
        if answer is None:
            judge.lose("The camera is offline.")
            row = []
            assert judge.state == "unknown" and judge.reason == "The camera is offline."
            continue
        judge.judge(*answer, float(now_s))
        row = [*row, answer][-standing.consecutive :]
        if judge.state != before:
            assert len(row) == standing.consecutive
            on_topic = [p for p, mass in row if p is not None and mass is not None and mass >= LEAST_MASS]
            if judge.state == "ON":
                assert len(on_topic) == len(row) and min(on_topic) >= standing.threshold_on
            elif judge.state == "OFF":
                assert len(on_topic) == len(row) and max(on_topic) <= standing.threshold_off
            else:
                assert not on_topic
        assert (judge.reason is None) == (judge.state != "unknown")


@given(rules, answers)
def test_events_alternate_and_keep_their_distance(standing: RuleConfig, feed: list[Answer | None]) -> None:
    """The first event is rule_on, no kind comes twice in a row, and each is at least the cooldown after the last."""
    judge = Judge(standing)
    events: list[tuple[int, RuleEvent]] = []
    for now_s, answer in enumerate(feed):
        if answer is None:
            judge.lose("The camera is offline.")
        elif event := judge.judge(*answer, float(now_s)):
            assert judge.state == {"rule_on": "ON", "rule_off": "OFF"}[event]
            events.append((now_s, event))
    assert [event for _, event in events] == (["rule_on", "rule_off"] * len(events))[: len(events)]
    for (earlier_s, _), (later_s, _) in itertools.pairwise(events):
        assert later_s - earlier_s >= standing.cooldown_s


@given(rules, answers, st.sampled_from([(1.0, 1.0, "ON"), (0.0, 1.0, "OFF"), (1.0, 0.0, "unknown")]))
def test_an_answer_that_stays_wins(
    standing: RuleConfig, feed: list[Answer | None], last: tuple[float, float, State]
) -> None:
    """Whatever came before, the same clear answer again and again becomes the state, and then it is settled."""
    assume(standing.threshold_on > 0 and standing.threshold_off < 1)  # else one of the answers is both ON and OFF
    judge = Judge(standing)
    for now_s, answer in enumerate(feed):
        if answer is None:
            judge.lose("The camera is offline.")
        else:
            judge.judge(*answer, float(now_s))
    p_yes, mass, state = last
    for extra_s in range(standing.consecutive + 6):  # more than the longest cooldown above
        judge.judge(p_yes, mass, float(len(feed) + extra_s))
    assert judge.state == state and judge.is_settled


@given(rules, answers)
def test_a_settled_rule_is_not_changed_by_the_same_answer(standing: RuleConfig, feed: list[Answer | None]) -> None:
    """That is what lets a picture that stands still go unasked: the last answer, repeated, says nothing new."""
    judge = Judge(standing)
    for now_s, answer in enumerate(feed):
        if answer is None:
            judge.lose("The camera is offline.")
            assert not judge.is_settled
            continue
        judge.judge(*answer, float(now_s))
        if judge.is_settled:
            state = judge.state
            for again_s in range(standing.consecutive):
                assert judge.judge(*answer, now_s + 100.0 + again_s) is None
            assert judge.state == state


def test_hysteresis_holds_the_state_between_the_thresholds() -> None:
    """0.5 is neither ON (from 0.7) nor OFF (to 0.3), and ends a streak."""
    feed: list[Answer] = [YES, BETWEEN, YES, YES, BETWEEN, BETWEEN, NO, BETWEEN, NO, NO]
    expected = ["unknown"] * 3 + ["ON"] * 6 + ["OFF"]
    assert states(Judge(rule()), feed) == expected


def test_an_off_topic_question_is_unknown_and_never_off() -> None:
    """P(yes) says nothing where yes and no together have hardly any mass; a streak of such answers ends a state."""
    judge = Judge(rule())
    assert judge.reason == NO_ANSWER
    assert states(judge, [OFF, OFF, (0.0, 0.2), (None, None)]) == ["unknown"] * 4
    assert judge.reason == OFF_TOPIC  # it was unknown before, for another reason
    assert states(judge, [YES, YES, OFF, OFF]) == ["unknown", "ON", "ON", "unknown"]
    assert judge.reason == OFF_TOPIC


def test_a_cooldown_holds_a_change_and_loses_none() -> None:
    """ON at 1 s holds until 6 s although NO comes from 2 s on; the first answer after it turns the rule OFF."""
    judge = Judge(rule(cooldown_s=5.0))
    assert states(judge, [YES, YES, NO, NO, NO, NO, NO]) == ["unknown"] + ["ON"] * 5 + ["OFF"]


def test_what_happens_across_an_outage_is_told_once() -> None:
    """ON, offline, ON: no second rule_on. ON, offline, OFF: rule_off. The first OFF of all is no event."""
    judge = Judge(rule(consecutive=1))
    assert judge.judge(*NO, 0) is None
    assert judge.judge(*YES, 1) == "rule_on"
    judge.lose("The camera is offline.")
    assert judge.judge(*YES, 2) is None and judge.state == "ON"
    judge.lose("The camera is offline.")
    assert judge.judge(*NO, 3) == "rule_off"


def test_the_reason_of_an_unknown_state_is_that_of_the_newest_answer() -> None:
    """What was wrong before the answers came is over; they are off topic, in doubt, or too few as yet."""
    judge = Judge(rule())
    judge.lose("The camera is offline: it was unplugged.")
    for answer, reason in ((YES, UNDECIDED), (OFF, OFF_TOPIC), (BETWEEN, UNDECIDED), (NO, UNDECIDED), (NO, None)):
        judge.judge(*answer, 0)
        assert judge.reason == reason, answer


def test_answers_that_a_cooldown_holds_back_after_an_outage_are_the_reason() -> None:
    """ON for an hour; the camera comes back with OFF: neither is told before the hour is over, and why is said."""
    judge = Judge(rule(consecutive=1, cooldown_s=3600))
    assert judge.judge(*YES, 0) == "rule_on"
    judge.lose("The camera is offline: it was unplugged.")
    for now_s in (20, 3000):
        assert judge.judge(*NO, now_s) is None
        assert judge.state == "unknown" and not judge.is_settled
        assert judge.reason == (
            "Its answers say OFF, but it turned ON less than 3600 s ago; it turns again when that time is over."
        )
    assert judge.judge(*NO, 3600) == "rule_off"
    assert (judge.state, judge.reason) == ("OFF", None)
