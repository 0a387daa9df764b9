"""What the model does next: pending questions first, then the caption, or the rules, that have been due longest.

A flood of questions must not end captioning: a caption that is late by half its interval goes between two questions,
so captions keep about two thirds of their rate, and so do rules. Questions about the same picture go together: the
model answers ten in little more than the time of one. So do the rules of a camera; they follow its caption, where one
is due, and share the encoding of its frame.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from edge_app.messages import Command, Question
from edge_app.rules.rule import RuleConfig
from edge_app.rules.timetable import EARLY_SHARE, Timetable

BATCH_LIMIT = 16  # questions, or rules, that go together: whoever asks next waits for all of them
BATCH_REGIONS = 4  # parts of the picture that rules of a batch are about: each takes as long as a batch of its own
LATE_SHARE = 0.5  # of an interval that captions and rules wait longer for while questions wait

ToJudge = Callable[[str, Sequence[RuleConfig]], Sequence[RuleConfig]]
"""Of rules about a camera those that there is something new to see for, in the order in which they are to go."""


def every_rule(_camera: str, rules: Sequence[RuleConfig]) -> Sequence[RuleConfig]:
    """There is always something new to see."""
    return rules


@dataclass
class Job:
    """One inference to be made: a question, a rule, a caption that a command asked for, or a caption that is due."""

    camera: str
    question: Question | None = None
    rule: RuleConfig | None = None
    follows: bool = False
    """Of a rule: the caption before it was of the same camera, and its frame will do."""
    snapshot_of: int | None = None
    """Of a rule: not its answer is wanted, but the picture of this frame, which it was about."""
    command: Command | None = None
    deadline_s: float = math.inf
    """Monotonic time at which whoever waits is told `timeout`."""
    attempts: int = 0
    """How often a model process has died on it."""
    settled: bool = False
    """Whoever waited has been answered; a result that still comes is not theirs any more."""
    alone: bool = False
    """It goes without others: a batch that it was in was refused, or the model died on it."""

    @property
    def is_awaited(self) -> bool:
        """Somebody is owed an answer."""
        return not self.settled and (self.question is not None or self.command is not None)

    def goes_with(self, other: Job) -> bool:
        """Whether one inference can answer both: two open questions about the same part of the same picture, or two
        rules that want the picture of the same frame.
        """
        if self.snapshot_of is not None:
            return (self.camera, self.snapshot_of) == (other.camera, other.snapshot_of)
        mine, theirs = self.question, other.question
        if mine is None or theirs is None or self.alone or other.alone:
            return False
        return (self.camera, mine.region, mine.choices, theirs.choices) == (other.camera, theirs.region, None, None)


class Scheduler:
    """Bounded queue of awaited jobs, and one due time a camera. Plain state: the clock is an argument."""

    def __init__(
        self,
        cameras: Sequence[str],
        interval_s: float,
        queue_length: int,
        rules: Timetable | None = None,
        own_interval_s: Mapping[str, float] | None = None,
    ) -> None:
        """`interval_s` is between the captions of a camera that is not in `own_interval_s`, and for rules."""
        self.interval_s = interval_s
        self._own_interval_s = dict(own_interval_s or {})
        self._rules = rules or Timetable()
        self.paused = False
        self._queue_length = queue_length
        self._waiting: deque[Job] = deque()  # what somebody is owed an answer to
        self._aside: deque[Job] = deque()  # rules: pictures of events, and second attempts
        self._was_question = False  # the last job, so that at most one other comes between two questions
        self._was_aside = False  # the last job but questions, so that at most one comes between two captions
        self._last_caption_s = dict.fromkeys(cameras, -math.inf)
        self._follow: tuple[str, float] | None = None  # camera and time of the last caption, while rules may follow it

    @property
    def waiting(self) -> tuple[Job, ...]:
        """The awaited jobs, in the order in which they will run."""
        return tuple(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another awaited job may be queued."""
        return len(self._waiting) < self._queue_length

    def add(self, job: Job) -> bool:
        """Queue an awaited job; False if the queue is full."""
        if not self.has_room:
            return False
        self._waiting.append(job)
        return True

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Queue jobs again, first and one by one, because something went wrong; they had their places: no bound.

        Rules wait apart from questions: they neither fill their queue nor keep them waiting.
        """
        for job in reversed(jobs):
            job.alone = True
            (self._aside if job.rule else self._waiting).appendleft(job)

    def next_jobs(self, now_s: float, can_caption: Callable[[str], bool], to_judge: ToJudge = every_rule) -> list[Job]:
        """Take the next job and what goes with it; nothing if there is nothing to do.

        `can_caption` tells whether there is something new to see for a caption of a camera.
        """
        if self._waiting and not self._was_question:
            return self._question_jobs()
        captioned = self._due_camera(now_s, can_caption, late=LATE_SHARE if self._waiting else 0.0)
        jobs = [] if captioned and self._was_aside else self._aside_jobs(to_judge)
        self._was_aside = bool(jobs)
        if not self._aside and not jobs:  # the frame of a picture that is waited for is kept until the next rules
            jobs = self._following_jobs(now_s, to_judge) or self._rule_jobs(now_s, captioned, to_judge)
        if not jobs and captioned is not None:
            self._last_caption_s[captioned] = now_s
            self._follow = captioned, now_s
            jobs = [Job(captioned)]
        if jobs:
            self._was_question = False
            return jobs
        return self._question_jobs() if self._waiting else []

    def _question_jobs(self) -> list[Job]:
        """The question that has waited longest, and what goes with it."""
        self._was_question = True
        return _taken(self._waiting)

    def _aside_jobs(self, to_judge: ToJudge) -> list[Job]:
        """The picture, or the rule's second attempt, that has waited longest; attempts that are no use any more go."""
        while self._aside:
            jobs = _taken(self._aside)
            first = jobs[0]
            if first.snapshot_of is not None or (first.rule and to_judge(first.camera, [first.rule])):
                return jobs
        return []

    def _following_jobs(self, now_s: float, to_judge: ToJudge) -> list[Job]:
        """The rules that follow the caption before, if there are any left."""
        if self._follow is None:
            return []
        camera, captioned_s = self._follow
        rules = _batch(to_judge(camera, self._rules.following(camera, now_s, self.interval_s, captioned_s)))
        if not rules:
            self._follow = None  # what is due later is asked about a later frame
        self._rules.asked(rules, captioned_s)
        return [Job(camera, rule=rule, follows=True) for rule in rules]

    def _rule_jobs(self, now_s: float, captioned: str | None, to_judge: ToJudge) -> list[Job]:
        """The rules of the camera that has waited longest, unless `captioned`, whose caption is due, has, too."""
        share = 1 + LATE_SHARE if self._waiting else 1.0
        waited = {}
        for camera in self._last_caption_s:
            due = self._rules.due(camera, now_s, self.interval_s, share)
            if due and (worth := to_judge(camera, due)):
                waited[camera] = self._rules.last_s(worth[0])
        if not waited:
            return []
        camera = min(waited, key=lambda name: waited[name])
        if captioned is not None and self._last_caption_s[captioned] <= waited[camera]:
            return []  # the caption first, and the rules of its camera after it, on the same encoding
        rules = _batch(to_judge(camera, self._rules.due(camera, now_s, self.interval_s, 1 - EARLY_SHARE)))
        self._rules.asked(rules, now_s)
        return [Job(camera, rule=rule) for rule in rules]

    def forecast(self, now_s: float, can_caption: Callable[[str], bool]) -> str | None:
        """The camera that the next job will caption, as far as is known now: one is due, nobody waits, and no rule."""
        if self._waiting or self._aside or self._rules.next_s(self._last_caption_s, self.interval_s) <= now_s:
            return None
        return self._due_camera(now_s, can_caption)

    def _due_camera(self, now_s: float, can_caption: Callable[[str], bool], late: float = 0.0) -> str | None:
        """The camera whose caption has been due longest, and for at least the part `late` of its interval."""
        for camera in sorted(self._last_caption_s, key=self._due_s):
            if self._due_s(camera) + late * self._interval_of(camera) <= now_s and can_caption(camera):
                return camera
        return None

    def expired(self, now_s: float) -> list[Job]:
        """Take the waiting jobs whose time is over."""
        over = [job for job in self._waiting if job.deadline_s <= now_s]
        self._waiting = deque(job for job in self._waiting if job.deadline_s > now_s)
        return over

    def drain(self) -> list[Job]:
        """Take all awaited jobs, and forget those of rules, which will be due again."""
        jobs = list(self._waiting)
        self._waiting.clear()
        self._aside.clear()
        return jobs

    def next_caption_s(self, cameras: Collection[str]) -> float:
        """Monotonic time at which the next caption of one of `cameras` is due; infinity for none."""
        return min((self._due_s(camera) for camera in cameras), default=math.inf)

    def next_rules_s(self, cameras: Collection[str]) -> float:
        """Monotonic time at which the next rule about one of `cameras` is due; infinity for none."""
        return self._rules.next_s(cameras, self.interval_s)

    def _due_s(self, camera: str) -> float:
        return math.inf if self.paused else self._last_caption_s[camera] + self._interval_of(camera)

    def _interval_of(self, camera: str) -> float:
        return self._own_interval_s.get(camera, self.interval_s)


def _taken(jobs: deque[Job]) -> list[Job]:
    """Take the first of `jobs` and what goes with it."""
    first = jobs.popleft()
    companions = [job for job in jobs if job.goes_with(first)][: BATCH_LIMIT - 1]
    for job in companions:
        jobs.remove(job)
    return [first, *companions]


def _batch(rules: Sequence[RuleConfig]) -> list[RuleConfig]:
    """The first of `rules`, as many as go together."""
    taken: list[RuleConfig] = []
    for rule in rules:
        regions = {rule.region, *(other.region for other in taken)}
        if len(taken) < BATCH_LIMIT and len(regions) <= BATCH_REGIONS:
            taken.append(rule)
    return taken
