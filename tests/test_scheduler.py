"""Scheduling: questions first, captions when due and fairly, bounds and deadlines."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable

from edge_app.inbox import Inbox
from edge_app.messages import Question, Region
from edge_app.scheduler import BATCH_LIMIT, Job, Scheduler


def job(
    name: str,
    deadline_s: float = math.inf,
    *,
    camera: str = "a",
    choices: tuple[str, ...] | None = None,
    region: Region | None = None,
) -> Job:
    return Job(
        camera,
        question=Question(
            name, name, None, choices, region, 1, None, None, msg_id=name, fingerprint=name, delivery=name
        ),
        deadline_s=deadline_s,
    )


def next_job(scheduler: Scheduler, now_s: float, can_caption: Callable[[str], bool]) -> Job | None:
    """The next job, which is to come alone."""
    jobs = scheduler.next_jobs(now_s, can_caption)
    assert len(jobs) <= 1
    return jobs[0] if jobs else None


def always(_camera: str) -> bool:
    return True


def test_questions_go_before_due_captions_and_in_order() -> None:
    """A person waits for an answer; nobody waits for a caption."""
    scheduler = Scheduler(["a"], interval_s=5, queue_length=4)
    next_job(scheduler, 0, always)
    first, second = job("1"), job("2")
    scheduler.add(first)
    scheduler.add(second)
    assert scheduler.next_jobs(6, always) == [first, second]  # the caption is due since 5
    caption = next_job(scheduler, 6, always)
    assert caption is not None and caption.question is None


def test_a_flood_of_questions_leaves_captions_two_thirds_of_their_rate() -> None:
    """Due every 6 s and late by 3: one caption in 9 s. With jobs of 1 s that is 8 questions, then a caption."""
    scheduler = Scheduler(["a"], interval_s=6, queue_length=1)
    kinds = []
    for now_s in range(28):
        scheduler.add(job("flood"))
        taken = next_job(scheduler, now_s, always)
        assert taken is not None
        kinds.append("question" if taken.question else "caption")
    # The first caption has been due for ever; it comes after the first question.
    assert [number for number, kind in enumerate(kinds) if kind == "caption"] == [1, 10, 19]


def test_with_no_interval_a_question_waits_for_one_caption_at_most() -> None:
    """Captions as fast as it goes: questions and captions alternate, and a lone question is next."""
    scheduler = Scheduler(["a"], interval_s=0, queue_length=2)
    assert next_job(scheduler, 0, always) is not None
    for name in ("1", "2"):
        scheduler.add(job(name, choices=("yes", "no")))  # those go one by one
    taken = [next_job(scheduler, 1, always) for _ in range(3)]
    assert [bool(item and item.question) for item in taken] == [True, False, True]


def test_a_camera_is_captioned_once_an_interval() -> None:
    """From start to start, and at once for a camera that has none yet."""
    scheduler = Scheduler(["a"], interval_s=5, queue_length=1)
    assert next_job(scheduler, 100, always) is not None
    assert next_job(scheduler, 104.9, always) is None
    assert scheduler.next_caption_s(["a"]) == 105
    assert scheduler.next_caption_s([]) == math.inf
    assert next_job(scheduler, 105, always) is not None


def test_with_no_interval_cameras_take_turns() -> None:
    """Whoever has waited longest is next, so no camera starves another."""
    scheduler = Scheduler(["a", "b", "c"], interval_s=0, queue_length=1)
    jobs = [next_job(scheduler, float(now), always) for now in range(6)]
    assert [job.camera for job in jobs if job] == ["a", "b", "c", "a", "b", "c"]


def test_a_camera_without_a_new_frame_is_passed_over() -> None:
    """It stays due, and the others get their turn."""
    scheduler = Scheduler(["a", "b"], interval_s=5, queue_length=1)
    taken = next_job(scheduler, 0, lambda camera: camera == "b")
    assert taken is not None and taken.camera == "b"
    assert next_job(scheduler, 0, lambda camera: camera == "b") is None
    assert scheduler.next_caption_s(["a", "b"]) == -math.inf
    assert scheduler.next_caption_s(["b"]) == 5


def test_pause_stops_captions_and_nothing_else() -> None:
    """Questions are answered during a pause."""
    scheduler = Scheduler(["a"], interval_s=0, queue_length=1)
    scheduler.paused = True
    assert next_job(scheduler, 0, always) is None
    assert scheduler.next_caption_s(["a"]) == math.inf
    assert scheduler.add(job("1"))
    assert next_job(scheduler, 0, always) is not None


def test_the_queue_is_bounded_but_keeps_the_place_of_a_job_put_back() -> None:
    """A new question finds the queue full; one whose model died goes first again."""
    scheduler = Scheduler([], interval_s=0, queue_length=1)
    assert scheduler.add(job("1"))
    assert not scheduler.add(job("2"))
    again = job("0")
    scheduler.put_back([again])
    assert next_job(scheduler, 0, always) is again


def test_questions_about_the_same_part_of_a_picture_go_together() -> None:
    """In their order, past those of other cameras and regions; those with choices, or put back, go alone."""
    scheduler = Scheduler([], interval_s=0, queue_length=99)
    left = (0.0, 0.0, 0.5, 1.0)
    jobs = {
        "plain": job("plain"),
        "other camera": job("other camera", camera="b"),
        "choices": job("choices", choices=("yes", "no")),
        "left": job("left", region=left),
        "plain again": job("plain again"),
        "left again": job("left again", region=left),
    }
    for one in jobs.values():
        scheduler.add(one)
    scheduler.put_back([job("put back"), job("put back too")])
    taken = [scheduler.next_jobs(0, always) for _ in range(6)]
    assert [[one.question.id for one in together if one.question] for together in taken] == [
        ["put back"],
        ["put back too"],
        ["plain", "plain again"],
        ["other camera"],
        ["choices"],
        ["left", "left again"],
    ]
    assert scheduler.next_jobs(0, always) == []


def test_only_so_many_questions_go_together() -> None:
    """The rest keeps its order."""
    scheduler = Scheduler([], interval_s=0, queue_length=99)
    jobs = [job(str(number)) for number in range(BATCH_LIMIT + 2)]
    for one in jobs:
        scheduler.add(one)
    assert scheduler.next_jobs(0, always) == jobs[:BATCH_LIMIT]
    assert scheduler.next_jobs(0, always) == jobs[BATCH_LIMIT:]


def test_expired_jobs_leave_the_queue_once() -> None:
    """A deadline is over when it is reached."""
    scheduler = Scheduler([], interval_s=0, queue_length=3)
    soon, later = job("1", 10), job("2", 20)
    scheduler.add(later)
    scheduler.add(soon)
    assert scheduler.expired(9.9) == []
    assert scheduler.expired(10) == [soon]
    assert scheduler.expired(10) == []
    assert scheduler.drain() == [later]


def test_the_inbox_turns_network_messages_away_when_full_but_never_events() -> None:
    """Room returns as messages are taken; what the service owes itself always gets in."""
    inbox = Inbox(limit_messages=2)
    assert [inbox.offer(number) for number in range(3)] == [True, True, False]
    inbox.post("event")
    assert inbox.dropped == 1
    assert [inbox.take(0) for _ in range(2)] == [0, 1]
    assert inbox.offer(3)
    assert [inbox.take(0) for _ in range(3)] == ["event", 3, None]


def test_a_waiting_taker_is_woken_by_another_thread() -> None:
    """The main thread sleeps in `take` and reacts at once."""
    inbox = Inbox()
    threading.Timer(0.05, inbox.post, ["late"]).start()
    assert inbox.take(10) == "late"


def test_the_next_caption_is_forecast_where_one_is_due_and_nobody_waits() -> None:
    """What the forecast names is what comes, and it takes nothing itself."""
    scheduler = Scheduler(["a", "b"], interval_s=5, queue_length=4)
    first = next_job(scheduler, 0, always)
    assert first is not None and first.camera == "a"
    assert scheduler.forecast(0, always) == "b" == scheduler.forecast(0, always)
    assert scheduler.forecast(0, lambda camera: camera == "a") is None  # b has no new frame, a is not due
    second = next_job(scheduler, 0, always)
    assert second is not None and second.camera == "b"
    assert scheduler.forecast(0, always) is None
    assert scheduler.forecast(5, always) == "a"
    scheduler.add(job("1"))
    assert scheduler.forecast(5, always) is None


def test_a_camera_without_an_interval_is_forecast_to_be_next_again() -> None:
    """As fast as it goes: due at once; paused, none is."""
    scheduler = Scheduler(["a"], interval_s=0, queue_length=4)
    next_job(scheduler, 3, always)
    assert scheduler.forecast(3, always) == "a"
    scheduler.paused = True
    assert scheduler.forecast(3, always) is None


def test_cameras_with_intervals_of_their_own_keep_their_own_rates() -> None:
    """In 60 s, looked at every second: one caption every 20, 5 and 2 s, the first of each at once."""
    own = {"slow": 20.0, "fast": 2.0}
    scheduler = Scheduler(["slow", "middle", "fast"], interval_s=5, queue_length=1, own_interval_s=own)
    captions: Counter[str] = Counter()
    for now_s in range(60):
        while (due := next_job(scheduler, now_s, always)) is not None:
            captions[due.camera] += 1
    assert captions == {"slow": 3, "middle": 12, "fast": 30}


def test_a_fast_camera_does_not_starve_a_slow_one() -> None:
    """Of two that are due, the one that has been due longer goes first, however fast the other is."""
    scheduler = Scheduler(["fast", "slow"], interval_s=0, queue_length=1, own_interval_s={"slow": 10})
    order = [job.camera for now_s in range(14) if (job := next_job(scheduler, now_s, always))]
    assert order == ["fast", "slow", *["fast"] * 11, "slow"]


def test_a_new_interval_is_for_the_cameras_without_their_own() -> None:
    """`interval/set` changes the common interval; a camera's own stays, and the next due time follows both."""
    scheduler = Scheduler(["common", "own"], interval_s=5, queue_length=1, own_interval_s={"own": 7})
    for _ in range(2):
        next_job(scheduler, 0, always)
    assert scheduler.next_caption_s(["common", "own"]) == 5
    scheduler.interval_s = 60
    assert scheduler.next_caption_s(["common", "own"]) == 7
    assert scheduler.next_caption_s(["common"]) == 60


def test_between_questions_each_camera_is_late_by_its_own_measure() -> None:
    """A caption goes between questions once it is late by half of its own camera's interval: 10 s, of 20."""
    scheduler = Scheduler(["slow"], interval_s=2, queue_length=9, own_interval_s={"slow": 20})
    next_job(scheduler, 0, always)
    for number in range(6):
        scheduler.add(job(str(number), choices=("a", "b")))
    taken = [next_job(scheduler, now_s, always) for now_s in (20, 29.5, 30, 30.1)]
    assert [found is not None and found.question is None for found in taken] == [False, False, True, False]
