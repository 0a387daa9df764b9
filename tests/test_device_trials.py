"""Which devices may be used: three strikes, an hour, one more chance, and longer every time."""

from __future__ import annotations

import itertools

from edge_app.device_trials import FIRST_WAIT_S, LONGEST_WAIT_S, STRIKES, WINDOW_S, DeviceTrials

CRASH = "The model process was ended by SIGSEGV."


def struck_out(at_s: float = 1000.0) -> DeviceTrials:
    """A GPU on which the process died three times, the last time at `at_s`."""
    trials = DeviceTrials()
    for number in range(3):
        trials.blame(["CPU", "GPU"], CRASH, at_s - 2 + number)
    return trials


def test_third_strike_within_ten_minutes_is_out() -> None:
    """The device is named when it goes, and the sentence for `info` says why and for how long; the CPU stays."""
    trials = DeviceTrials()
    assert [trials.blame(["CPU", "GPU"], CRASH, at_s) for at_s in (0, 299, 600)] == [[], [], ["GPU"]]
    assert trials.left_out() == {
        "GPU": f"GPU is left out for an hour: the process failed 3 times in 10 minutes on it: {CRASH}"
    }


def test_old_strikes_are_forgotten() -> None:
    """A crash every 5 min 1 s never makes three in ten minutes."""
    trials = DeviceTrials()
    assert not any(trials.blame(["GPU"], CRASH, 301.0 * number) for number in range(20))
    assert trials.left_out() == {}


def test_window_is_as_long_as_three_deadlines() -> None:
    """A start that hangs for half an hour each time could otherwise never strike out."""
    trials = DeviceTrials(longest_failure_s=1800)
    assert [trials.blame(["GPU"], "hang", 1801.0 * number) for number in range(3)] == [[], [], ["GPU"]]


def test_cpu_is_never_left_out() -> None:
    """There is nothing after it."""
    trials = DeviceTrials()
    for number in range(10):
        assert trials.blame(["CPU"], CRASH, float(number)) == []
    trials.refused("CPU", "CPU+GPU cannot run the model.", 10.0)
    assert trials.left_out() == {}


def test_it_is_due_after_an_hour_and_stays_out_until_a_start_admits_it() -> None:
    """The wait alone changes nothing: whoever starts the process lets it in."""
    trials = struck_out(at_s=1000)
    trials.admit_due(999 + FIRST_WAIT_S)
    assert trials.due(999 + FIRST_WAIT_S) == []
    assert trials.due(1000 + FIRST_WAIT_S) == ["GPU"] == list(trials.left_out())
    trials.admit_due(1000 + FIRST_WAIT_S)
    assert trials.due(1000 + FIRST_WAIT_S) == [] == list(trials.left_out())


def test_a_second_chance_is_one_chance_and_the_wait_doubles_up_to_a_day() -> None:
    """One failure on probation and it is out again, for 2, 4, 8, 16 and then 24 hours each time."""
    trials = struck_out(at_s=0)
    now_s, waits_h = FIRST_WAIT_S, []
    for _ in range(6):
        trials.admit_due(now_s)
        assert trials.blame(["GPU"], CRASH, now_s + 1) == ["GPU"]
        wait_s = next(after_s for after_s in itertools.count(0, 3600) if trials.due(now_s + 1 + after_s))
        waits_h.append(wait_s / 3600)
        now_s += 1 + wait_s
    assert waits_h == [2, 4, 8, 16, 24, 24]
    assert LONGEST_WAIT_S == 24 * 3600


def test_a_device_that_served_for_ten_minutes_has_proved_itself() -> None:
    """From then on it has three strikes again, and the wait begins anew at an hour."""
    trials = struck_out(at_s=0)
    trials.admit_due(FIRST_WAIT_S)
    proved_s = FIRST_WAIT_S + WINDOW_S + 1
    assert [trials.blame(["GPU"], CRASH, proved_s + number) for number in range(3)] == [[], [], ["GPU"]]
    assert trials.due(proved_s + 2 + FIRST_WAIT_S) == ["GPU"]


def test_a_refusal_by_the_process_itself_counts_at_once() -> None:
    """A golden sample that does not match needs no three tries; the same refusal after an hour doubles the wait."""
    trials = DeviceTrials()
    trials.refused("GPU", "GPU does not compute the golden sample.", 0)
    assert "golden sample" in trials.left_out()["GPU"]
    trials.admit_due(FIRST_WAIT_S)
    trials.refused("GPU", "GPU does not compute the golden sample.", FIRST_WAIT_S + 5)
    assert trials.due(FIRST_WAIT_S + 5 + FIRST_WAIT_S) == []
    assert trials.due(FIRST_WAIT_S + 5 + 2 * FIRST_WAIT_S) == ["GPU"]


def test_devices_have_a_record_each() -> None:
    """A process on two of them fails: both are suspects; alone, each answers for itself."""
    trials = DeviceTrials()
    trials.blame(["GPU.0", "GPU.1"], CRASH, 0)
    trials.blame(["GPU.0"], CRASH, 1)
    assert trials.blame(["GPU.0", "GPU.1"], CRASH, 2) == ["GPU.0"]


def test_failures_that_take_longer_than_the_window_count_together() -> None:
    """Three first compilations that each hang after a quarter of an hour: the window is as long as it needs to be."""
    trials = DeviceTrials()
    for number in range(STRIKES - 1):
        assert trials.blame(["GPU"], "hung", 900.0 * number, lasted_s=890.0) == []
    assert trials.blame(["GPU"], "hung", 900.0 * (STRIKES - 1), lasted_s=890.0) == ["GPU"]
    assert trials.left_out()["GPU"].endswith("the process failed 3 times in 44.5 minutes on it: hung")
