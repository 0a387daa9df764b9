"""When rules are asked: with the caption of their camera where one is due, at their own interval, never starved."""

from __future__ import annotations

import itertools
import math
from typing import Any

from edge_app.messages import Question
from edge_app.rules.rule import RuleConfig
from edge_app.rules.timetable import Timetable
from edge_app.scheduler import BATCH_LIMIT, BATCH_REGIONS, Job, Scheduler


class Plan:
    """A scheduler with rules; each job takes a second of a clock that nobody waits for."""

    def __init__(self, interval_s: float, *cameras: str, own_interval_s: dict[str, float] | None = None) -> None:
        self.rules = Timetable()
        self.scheduler = Scheduler(cameras or ("a",), interval_s, 4, self.rules, own_interval_s)
        self.now_s = 0.0

    def put(self, id: str, camera: str = "a", **values: Any) -> None:
        self.rules.put(RuleConfig(id=id, question="is there a cup?", **values), camera)

    def next(self, still: str = "") -> str:
        """The next jobs in short: `a: caption`, `a: rules x y` (`follow` behind a caption), `question`."""
        jobs = self.scheduler.next_jobs(
            self.now_s, lambda camera: camera not in still, lambda camera, rules: () if camera in still else rules
        )
        self.now_s += 1
        return self.told(jobs)

    @staticmethod
    def told(jobs: list[Job]) -> str:
        if not jobs:
            return "-"
        first = jobs[0]
        if first.question:
            return "question"
        if first.rule is None:
            return f"{first.camera}: caption"
        names = " ".join(job.rule.id for job in jobs if job.rule)
        kind = "follow" if first.follows else "rules" if first.snapshot_of is None else "picture"
        return f"{first.camera}: {kind} {names}"


def question(name: str) -> Job:
    asked = Question(name, name, None, None, None, 1, None, None, msg_id=name, fingerprint=name, delivery=name)
    return Job("a", question=asked)


def test_rules_follow_the_caption_of_their_camera_as_one_batch() -> None:
    """One frame, one encoding: the caption, then all rules of that camera; then nothing until the next interval."""
    plan = Plan(4, "a", "b")
    plan.put("x")
    plan.put("y")
    plan.put("z", "b")
    told = [plan.next() for _ in range(9)]
    cycle = ["a: caption", "a: follow x y", "b: caption", "b: follow z"]
    assert told == [*cycle, *cycle, "a: caption"]


def test_with_no_interval_captions_and_rules_take_turns() -> None:
    """As fast as it goes: neither keeps the other from the model."""
    plan = Plan(0)
    plan.put("x")
    assert [plan.next() for _ in range(4)] == ["a: caption", "a: follow x"] * 2


def test_a_rule_has_an_interval_of_its_own() -> None:
    """Asked every 3 s, captions or not; it follows a caption when it is due, or nearly, at that time."""
    plan = Plan(6)
    plan.put("x", interval_s=3)
    told = [plan.next() for _ in range(11)]
    expected = {0: "a: caption", 1: "a: follow x", 3: "a: rules x", 6: "a: caption", 7: "a: follow x", 9: "a: rules x"}
    assert told == [expected.get(second, "-") for second in range(11)]


def test_rules_go_on_while_captions_are_paused() -> None:
    """A pause stops captions and nothing else."""
    plan = Plan(2)
    plan.put("x")
    plan.scheduler.paused = True
    assert [plan.next() for _ in range(4)] == ["a: rules x", "-", "a: rules x", "-"]
    assert plan.scheduler.next_caption_s(["a"]) == math.inf
    assert plan.scheduler.next_rules_s(["a"]) == 4


def test_a_rule_that_comes_late_falls_into_step() -> None:
    """Asked at once, and from the next caption on together with it: one vision pass, not two."""
    plan = Plan(6)
    assert plan.next() == "a: caption"
    plan.next()
    plan.put("x")
    told = [plan.next() for _ in range(2, 15)]
    assert told == [
        "a: rules x",
        "-",
        "-",
        "-",
        "a: caption",
        "a: follow x",
        "-",
        "-",
        "-",
        "-",
        "a: caption",
        "a: follow x",
        "-",
    ]


def test_a_flood_of_questions_starves_no_rule_and_rules_starve_no_question() -> None:
    """Between two questions goes one job that is late by half its interval: the caption, a question later the rules."""
    plan = Plan(6)
    plan.put("x")
    told = []
    for second in range(24):
        plan.scheduler.add(question(str(second)))
        told.append(plan.next())
    assert told.count("a: caption") == told.count("a: follow x") == 3  # at 1, 10, 19
    for earlier, later in itertools.pairwise(told):
        assert "question" in (earlier, later)  # a question waits for one of the two, not for both


def test_rules_that_captions_do_not_wait_for_are_not_starved_by_another_camera() -> None:
    """Captions of one camera that are always due leave room for the rules of another that shows nothing to caption."""
    plan = Plan(0, "a", "b")
    plan.put("x", "b", interval_s=2)
    told = []
    for _ in range(8):
        jobs = plan.scheduler.next_jobs(plan.now_s, lambda camera: camera == "a")
        plan.now_s += 1
        told.append(plan.told(jobs))
    assert told.count("b: rules x") >= 3


def test_many_rules_go_in_several_batches_about_one_frame() -> None:
    """At most sixteen wait for each other; all follow the same caption."""
    plan = Plan(60)
    for number in range(BATCH_LIMIT + 3):
        plan.put(str(number))
    sizes = []
    for _ in range(4):
        jobs = plan.scheduler.next_jobs(plan.now_s, lambda _: True)
        sizes.append([job.follows for job in jobs])
    assert sizes == [[False], [True] * BATCH_LIMIT, [True] * 3, []]


def test_a_barred_rule_waits_and_the_others_do_not() -> None:
    """A rule that the model refuses is left out until its time."""
    plan = Plan(4)
    plan.put("x")
    plan.put("y")
    plan.rules.bar("x", 6)
    assert [plan.next() for _ in range(3)] == ["a: caption", "a: follow y", "-"]
    plan.rules.remove("y")
    plan.now_s = 6
    assert [plan.next() for _ in range(2)] == ["a: rules x", "a: caption"]  # x has never been asked


def test_what_stands_still_is_not_asked() -> None:
    """The dispatcher says where there is something to see."""
    plan = Plan(2)
    plan.put("x")
    assert plan.next(still="a") == "-"
    assert plan.next() == "a: caption"


def test_no_frame_is_begun_ahead_of_rules() -> None:
    """The forecast is for the next job; where rules are due there is none."""
    plan = Plan(0, "a", "b")
    assert plan.scheduler.forecast(0, lambda _: True) == "a"
    plan.put("x")
    assert plan.scheduler.forecast(0, lambda _: True) is None


def test_a_batch_is_about_few_regions() -> None:
    """Each takes as long as a batch of its own, and a question that comes waits for all: four, then the next four."""
    plan = Plan(60)
    for number in range(12):
        plan.put(str(number), region=(0, 0, 1 - number % 6 / 10, 1))
    assert [plan.next() for _ in range(4)] == [
        "a: caption",
        "a: follow 0 1 2 3 6 7 8 9",
        "a: follow 4 5 10 11",
        "-",
    ]
    assert BATCH_REGIONS == 4


def test_rules_keep_the_common_interval_and_follow_every_caption_of_their_camera() -> None:
    """A camera's own interval brings its rules more answers, never fewer."""
    fast, slow = Plan(8, own_interval_s={"a": 2}), Plan(2, own_interval_s={"a": 6})
    for plan in fast, slow:
        plan.put("x")
    assert [fast.next() for _ in range(6)] == ["a: caption", "a: follow x"] * 3
    assert [slow.next() for _ in range(8)] == [
        *("a: caption", "a: follow x", "a: rules x", "-", "a: rules x", "-"),
        *("a: caption", "a: follow x"),
    ]


def test_second_attempts_fill_no_queue_and_take_turns_with_questions_and_captions() -> None:
    """What was put back of a refused batch goes one by one, and neither a question nor a caption waits for two."""
    plan = Plan(0)
    plan.put("x")
    rules = [Job("a", rule=RuleConfig(id=name, question="is there a cup?")) for name in "xyz"]
    plan.next()
    plan.scheduler.put_back(rules)
    assert [plan.scheduler.add(question(name)) for name in "1234"] == [True] * 4
    assert not plan.scheduler.add(question("5"))
    assert plan.scheduler.forecast(plan.now_s, lambda _: True) is None
    told = []
    for number in range(9):
        plan.scheduler.add(question(str(number)))
        told.append(plan.next())
    assert told[0::2] == ["question"] * 5
    assert told[1::2] == ["a: rules x", "a: caption", "a: rules y", "a: caption"]
    plan.scheduler.drain()
    assert [plan.next(), plan.next()] == ["a: follow x", "a: caption"]  # z is forgotten until it is due


def test_pictures_of_one_frame_go_together_and_before_the_next_rules() -> None:
    """The model's process keeps the frame until it is asked about others."""
    plan = Plan(0)
    for name in "xyz":
        plan.put(name)
    rules = [RuleConfig(id=name, question="is there a cup?") for name in "xyz"]
    plan.scheduler.put_back([Job("a", rule=rule, snapshot_of=7 + (rule.id == "y")) for rule in rules])
    assert [plan.next() for _ in range(4)] == ["a: picture x z", "a: caption", "a: picture y", "a: follow x y z"]


def test_rules_of_a_camera_that_went_offline_are_dropped_before_they_begin() -> None:
    """Behind a caption and after a model's death alike; the picture of what was told already is not."""
    plan = Plan(60, "a", "b")
    for name in "ab":
        plan.put(name, name)
    rule = RuleConfig(id="x", question="is there a cup?")
    assert plan.next() == "a: caption"
    plan.scheduler.put_back([Job("a", rule=rule), Job("a", rule=rule, snapshot_of=7)])
    assert [plan.next(still="a") for _ in range(4)] == ["a: picture x", "b: caption", "b: follow b", "-"]
    assert plan.next() == "a: rules a"
