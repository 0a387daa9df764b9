"""What the model does next: pending questions first, then the caption that has been due longest.

A flood of questions must not end captioning: a caption that is late by half its interval goes between two questions,
so captions keep about two thirds of their rate.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_app.messages import Command, Question


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

    @property
    def is_awaited(self) -> bool:
        """Somebody is owed an answer."""
        return not self.settled and (self.question is not None or self.command is not None)


class Scheduler:
    """Bounded queue of awaited jobs, and one due time a camera. Plain state: the clock is an argument."""

    def __init__(self, cameras: Sequence[str], interval_s: float, queue_length: int) -> None:
        self.interval_s = interval_s
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

    def put_back(self, job: Job) -> None:
        """Queue a job again, first, because the model died on it; it had its place, so no bound applies."""
        self._waiting.appendleft(job)

    def next_job(self, now_s: float, can_caption: Callable[[str], bool]) -> Job | None:
        """Take the next job, or None if there is nothing to do."""
        grace_s = self.interval_s / 2 if self._waiting else 0.0
        if self._waiting and not self._was_question:
            self._was_question = True
            return self._waiting.popleft()
        for camera in sorted(self._last_caption_s, key=lambda name: self._last_caption_s[name]):
            if self._due_s(camera) + grace_s <= now_s and can_caption(camera):
                self._last_caption_s[camera] = now_s
                self._was_question = False
                return Job(camera)
        return self._waiting.popleft() if self._waiting else None

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

    def next_event_s(self) -> float:
        """Monotonic time of the next deadline or due caption."""
        deadlines = [job.deadline_s for job in self._waiting]
        due = [] if self.paused else [self._due_s(camera) for camera in self._last_caption_s]
        return min(deadlines + due, default=math.inf)

    def _due_s(self, camera: str) -> float:
        return math.inf if self.paused else self._last_caption_s[camera] + self.interval_s
