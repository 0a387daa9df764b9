"""Gives the model its work and settles every debt: each question gets exactly one answer, whatever happens.

A question is owed an answer from `ask` on. It is settled by a result, by its deadline, by a model that dies on it
twice, or by the end of the service; `Job.settled` keeps it from being settled again.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from edge_app.health import StageTimes
from edge_app.messages import (
    ERROR_CODES,
    Command,
    ErrorCode,
    Question,
    Region,
    Result,
    failed,
    from_worker,
)
from edge_app.model_client import ModelDown, ModelEvent, ModelLost, ModelReady, ModelReply
from edge_app.publisher import Publisher
from edge_app.scheduler import Job, Scheduler

ATTEMPTS = 2  # model processes that one question may cost
# How often to look for the next frame while the model waits for nothing else. It costs some percent of a core.
FRAME_POLL_S = 0.002

log = logging.getLogger(__name__)


class Cameras(Protocol):
    """What the dispatcher asks about cameras."""

    def names(self) -> tuple[str, ...]:
        """All cameras, in the order of the configuration."""

    def frame_id(self, name: str) -> int | None:
        """The newest frame of a camera; None if it is offline or has delivered none."""

    def region(self, name: str) -> Region | None:
        """Where captions and questions without a region look; None: everywhere."""

    def problem(self, name: str) -> str:
        """Why a camera is offline, as part of a sentence."""


class Dispatcher:
    """One inference in flight; questions before captions; one answer a question. Owned by the main thread."""

    def __init__(
        self,
        scheduler: Scheduler,
        cameras: Cameras,
        publisher: Publisher,
        *,
        submit: Callable[[int, dict[str, Any]], None],
        observe: Callable[[Result], None],
        command_timeout_s: float,
    ) -> None:
        self.prompt: str | None = None
        self.model_info: dict[str, Any] | None = None
        self.model_problem: str | None = None
        """Why the model last failed to start; None while it starts for the first time, restarts, or runs."""
        self.stage_times = StageTimes()
        self.counts: Counter[str] = Counter()
        self._scheduler, self._cameras, self._publisher = scheduler, cameras, publisher
        self._submit, self._observe = submit, observe
        self._command_timeout_s = command_timeout_s
        self._number = 0
        self._current: list[Job] = []  # what the request in flight is for
        self._captioned: dict[str, int] = {}  # camera: its frame in the last caption
        self._caption_problems: dict[str, str] = {}

    @property
    def is_ready(self) -> bool:
        """The model process has loaded."""
        return self.model_info is not None

    @property
    def queue_length(self) -> int:
        """Awaited jobs that have not begun."""
        return len(self._scheduler.waiting)

    def ask(self, question: Question) -> None:
        """Take a question; from here on its answer is owed."""
        deadline_s = time.monotonic() + question.timeout_s
        self._accept(Job("", question=question, deadline_s=deadline_s), question.camera)

    def can_see(self, camera: str | None) -> bool:
        """Whether a question about this camera (None: any) would find a picture."""
        names = self._cameras.names() if camera is None else (camera,)
        return any(self._cameras.frame_id(name) is not None for name in names if name in self._cameras.names())

    def caption_now(self, command: Command) -> None:
        """Take a `request/caption`; from here on its response is owed."""
        deadline_s = time.monotonic() + self._command_timeout_s
        self._accept(Job("", command=command, deadline_s=deadline_s), command.camera)

    def handle(self, event: ModelEvent) -> None:
        """Take one event of the model client."""
        match event:
            case ModelReady(info):
                self.model_info, self.model_problem = info, None
            case ModelDown(reason, hopeful):
                self._on_down(reason, hopeful=hopeful)
            case ModelReply(number, reply):
                self._on_reply(self._finish(number), reply)
            case ModelLost(number, reason):
                self._on_lost(self._finish(number), reason)
        self.work()

    def work(self) -> None:
        """Tell `timeout` to whom it is due, and give the model its next request if it has none."""
        now_s = time.monotonic()
        for job in self._scheduler.expired(now_s):
            self._time_out(job)
        for job in self._current:
            if job.is_awaited and job.deadline_s <= now_s:
                self._time_out(job)
        if self._current or not self.is_ready:
            return
        if following := self._scheduler.next_jobs(now_s, self._has_new_frame):
            self._begin(following)

    def next_event_s(self) -> float:
        """Monotonic time at which `work` has something to do even if no event comes."""
        deadline_s = min((job.deadline_s for job in self._unsettled()), default=math.inf)
        if self._current or not self.is_ready:
            return deadline_s  # nothing can begin before the reply, or the model's start, and both are events
        # A frame is no event, and a camera that is offline delivers none. One that is due has no new frame yet.
        online = [name for name in self._cameras.names() if self._cameras.frame_id(name) is not None]
        return min(deadline_s, max(self._scheduler.next_caption_s(online), time.monotonic() + FRAME_POLL_S))

    def shut_down(self) -> None:
        """Settle every debt with `model_unavailable`, because the service ends."""
        for job in self._unsettled():
            self._fail(job, "model_unavailable", "The service is shutting down; ask again when it is online.")
        self._scheduler.drain()

    def _accept(self, job: Job, camera: str | None) -> None:
        """Queue an awaited job, or settle it at once with the reason why it cannot run."""
        names = self._cameras.names()
        usable = [name for name in names if self._cameras.frame_id(name) is not None]
        job.camera = camera or (usable[0] if usable else names[0])
        if camera is not None and camera not in names:
            job.camera = ""
            self._fail(job, "bad_request", f"There is no camera {camera!r}; there are {', '.join(names)}.")
        elif job.camera not in usable:
            problem = self._cameras.problem(job.camera)
            message = f"The camera {job.camera!r} delivers no frames at present ({problem}); ask again later."
            self._fail(job, "camera_unavailable", message)
        elif self.model_problem is not None:
            self._fail(job, "model_unavailable", f"The model cannot start: {self.model_problem}")
        elif not self._scheduler.add(job):
            self._fail(job, "busy", f"{self.queue_length} questions are waiting already; ask again later.")
        else:
            self.work()

    def _begin(self, jobs: list[Job]) -> None:
        self._number += 1
        self._current = jobs
        first = jobs[0]
        request: dict[str, Any]
        if first.question is None:
            request = {
                "op": "caption",
                "camera": first.camera,
                "prompt": self.prompt,
                "region": self._cameras.region(first.camera),
                # So that a model on two devices can encode that camera's frame while it decodes this one.
                "next": self._scheduler.forecast(time.monotonic(), self._has_new_frame),
            }
        else:
            asked = first.question
            request = {
                "op": "ask",
                "camera": first.camera,
                "questions": [job.question.question for job in jobs if job.question],
                "choices": list(asked.choices) if asked.choices else None,
                "region": asked.region or self._cameras.region(first.camera),
            }
        self._submit(self._number, request)

    def _finish(self, number: int) -> list[Job]:
        assert self._current and number == self._number
        jobs, self._current = self._current, []
        return jobs

    def _on_down(self, reason: str, *, hopeful: bool) -> None:
        self.model_info = None
        if hopeful:
            return  # it ran a moment ago and will again: questions wait for it
        self.model_problem = reason
        for job in self._scheduler.drain():
            self._fail(job, "model_unavailable", f"The model cannot start: {reason}")

    def _on_lost(self, jobs: list[Job], reason: str) -> None:
        self.counts["lost_inferences"] += 1
        for job in jobs:
            job.attempts += 1
            if job.is_awaited and job.attempts == ATTEMPTS:
                self._fail(job, "model_unavailable", f"The model failed {ATTEMPTS} times on this request: {reason}")
        again = [job for job in jobs if job.is_awaited]
        self.counts["retried"] += len(again)
        self._scheduler.put_back(again)

    def _on_reply(self, jobs: list[Job], reply: dict[str, Any]) -> None:
        for job in jobs:
            if job.settled:  # whoever waited has been told `timeout`: for them it is over, good or bad
                self.counts["late"] += 1
                log.info("reply came late camera=%s%s", job.camera, f" id={job.question.id!r}" if job.question else "")
        results = reply.get("results")
        if reply.get("ok") is not True:
            code = reply.get("code")
            self._on_refusal(jobs, code if code in ERROR_CODES else "model_unavailable", str(reply.get("message")))
        elif not isinstance(results, list) or len(results) != len(jobs):
            log.error("model reply is malformed camera=%s questions=%d", jobs[0].camera, len(jobs))
            self._on_refusal(jobs, "model_unavailable", "The model sent a malformed reply.")
        else:
            unsettled = [(job, values) for job, values in zip(jobs, results, strict=True) if not job.settled]
            told = [(job, result) for job, values in unsettled if (result := self._result(job, values))]
            self.work()  # before anything is published, which takes longer: meanwhile the model is at work again
            for job, result in told:
                self._tell(job, result)

    def _on_refusal(self, jobs: list[Job], code: ErrorCode, message: str) -> None:
        unsettled = [job for job in jobs if not job.settled]
        if len(jobs) > 1:  # one question of them is at fault: now each for itself
            self._scheduler.put_back(unsettled)
            return
        for job in unsettled:
            if job.question is None:  # the next frame may fare better, this one would not
                self._captioned[job.camera] = self._cameras.frame_id(job.camera) or 0
            self._fail(job, code, message)

    def _result(self, job: Job, values: dict[str, Any]) -> Result | None:
        """What the model sent for a job; None, and the job has failed, if it is not what the model promises."""
        try:
            result = from_worker(
                "answer" if job.question else "caption",
                values,
                camera=job.camera,
                now_unix_s=time.time(),
                now_s=time.monotonic(),
                question=job.question,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            log.exception("model reply is malformed camera=%s", job.camera)
            self._fail(job, "model_unavailable", f"The model sent a malformed result ({error!r}).")
            return None
        if job.question is None:
            self._captioned[job.camera] = result.frame_id or 0
        return result

    def _tell(self, job: Job, result: Result) -> None:
        """Count, show and publish a result."""
        self._count(job, result)
        self._observe(result)
        if job.question is None:
            self._caption_problems.pop(job.camera, None)
            self._publisher.caption(job.camera, result)
        self._settle(job, result)

    def _count(self, job: Job, result: Result) -> None:
        timing = result.timing_ms
        assert timing is not None
        self.stage_times.add(dataclasses.asdict(timing))
        self.counts["captions" if job.question is None else "answers"] += 1
        log.info(
            "%s camera=%s%s frame=%s tokens=%s vision_ms=%s decode_ms=%s total_ms=%s",
            "captioned" if job.question is None else "answered",
            job.camera,
            f" id={job.question.id!r}" if job.question else "",
            result.frame_id,
            result.tokens,
            timing.vision,
            timing.decode,
            timing.total,
        )

    def _time_out(self, job: Job) -> None:
        if self.is_ready:
            self._fail(job, "timeout", "The answer took longer than the time allowed; ask again, or allow more.")
        else:
            self._fail(job, "model_unavailable", "The model is still starting; ask again later.")

    def _fail(self, job: Job, code: ErrorCode, message: str) -> None:
        if not job.is_awaited:
            self._tell_caption_problem(job.camera, message)
            return
        self.counts[code] += 1
        result = failed(
            "answer" if job.question else "caption",
            code,
            message,
            now_unix_s=time.time(),
            id=job.question.id if job.question else None,
            camera=job.camera or None,
            question=job.question.question if job.question else None,
        )
        self._settle(job, result)

    def _settle(self, job: Job, result: Result) -> None:
        """Pay the debt of a job, once."""
        if not job.is_awaited:
            return
        job.settled = True
        if job.question is not None:
            self._publisher.answer(job.question, result)
        elif job.command is not None and result.error is not None:
            self._publisher.respond(job.command, job.command.name, error=dataclasses.asdict(result.error))
        elif job.command is not None:
            self._publisher.respond(job.command, job.command.name, data=dataclasses.asdict(result))

    def _tell_caption_problem(self, camera: str, message: str) -> None:
        """Log why captions fail when the reason changes, not at each one."""
        self.counts["failed_captions"] += 1
        if self._caption_problems.get(camera) != message:
            log.warning("caption failed camera=%s reason=%r", camera, message)
        self._caption_problems[camera] = message

    def _unsettled(self) -> list[Job]:
        return [job for job in (*self._current, *self._scheduler.waiting) if job.is_awaited]

    def _has_new_frame(self, camera: str) -> bool:
        frame_id = self._cameras.frame_id(camera)
        return frame_id is not None and frame_id != self._captioned.get(camera)
