"""What the model does next: pending questions first, then the caption that has been due longest.

A flood of questions must not end captioning: a caption that is late by half its interval goes between two questions,
so captions keep about two thirds of their rate. Questions about the same picture go together: the model answers ten in
little more than the time of one.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from edge_app.messages import Command, Question

BATCH_LIMIT = 16  # questions that go together: whoever asks next waits for all of them


@dataclass
class Job:
    """One inference to be made: a question, a caption that a command asked for, or a caption that is due."""

    camera: str
    question: Question | None = None
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
        """Whether one inference can answer both: two open questions about the same part of the same picture."""
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
        own_interval_s: Mapping[str, float] | None = None,
    ) -> None:
        """`interval_s` is between the captions of a camera that is not in `own_interval_s`."""
        self.interval_s = interval_s
        self._own_interval_s = dict(own_interval_s or {})
        self.paused = False
        self._queue_length = queue_length
        self._waiting: deque[Job] = deque()
        self._was_question = False  # the last job, so that at most one caption comes between two questions
        self._last_caption_s = dict.fromkeys(cameras, -math.inf)

    @property
    def waiting(self) -> tuple[Job, ...]:
        """The awaited jobs, in the order in which they will run."""
        return tuple(self._waiting)

    def add(self, job: Job) -> bool:
        """Queue an awaited job; False if the queue is full."""
        if len(self._waiting) >= self._queue_length:
            return False
        self._waiting.append(job)
        return True

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Queue jobs again, first and one by one, because something went wrong; they had their places: no bound."""
        for job in reversed(jobs):
            job.alone = True
            self._waiting.appendleft(job)

    def next_jobs(self, now_s: float, can_caption: Callable[[str], bool]) -> list[Job]:
        """Take the next job and what goes with it; nothing if there is nothing to do."""
        first = self._next_job(now_s, can_caption)
        if first is None:
            return []
        companions = [job for job in self._waiting if job.goes_with(first)][: BATCH_LIMIT - 1]
        for job in companions:
            self._waiting.remove(job)
        return [first, *companions]

    def _next_job(self, now_s: float, can_caption: Callable[[str], bool]) -> Job | None:
        if self._waiting and not self._was_question:
            self._was_question = True
            return self._waiting.popleft()
        camera = self._due_camera(now_s, can_caption, late=0.5 if self._waiting else 0.0)
        if camera is not None:
            self._last_caption_s[camera] = now_s
            self._was_question = False
            return Job(camera)
        return self._waiting.popleft() if self._waiting else None

    def forecast(self, now_s: float, can_caption: Callable[[str], bool]) -> str | None:
        """The camera that the next job will caption, as far as is known now: one is due and nobody waits."""
        return None if self._waiting else self._due_camera(now_s, can_caption)

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
        """Take all waiting jobs."""
        jobs = list(self._waiting)
        self._waiting.clear()
        return jobs

    def next_caption_s(self, cameras: Collection[str]) -> float:
        """Monotonic time at which the next caption of one of `cameras` is due; infinity for none."""
        return min((self._due_s(camera) for camera in cameras), default=math.inf)

    def _due_s(self, camera: str) -> float:
        return math.inf if self.paused else self._last_caption_s[camera] + self._interval_of(camera)

    def _interval_of(self, camera: str) -> float:
        return self._own_interval_s.get(camera, self.interval_s)
