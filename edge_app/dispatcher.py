"""Gives the model its work and settles every debt: each question gets exactly one answer, whatever happens.

A question is owed an answer from `ask` on. It is settled by a result, by its deadline, by a model that dies on it
twice, or by the end of the service; `Job.settled` keeps it from being settled again.
"""

from __future__ import annotations

import base64
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from edge_app.gate import Gate
from edge_app.messages import (
    ERROR_CODES,
    Command,
    ErrorCode,
    Question,
    Result,
    failed,
    from_worker,
)
from edge_app.model_client import ModelDown, ModelEvent, ModelLost, ModelReady, ModelReply
from edge_app.model_requests import caption_request, question_request, rules_request, snapshot_request
from edge_app.novelty import Cameras, Novelty
from edge_app.publisher import Publisher
from edge_app.rules.keeper import RuleKeeper
from edge_app.scheduler import Job, Scheduler
from edge_app.tally import Tally

ATTEMPTS = 2  # model processes that one question may cost
# How often to look for the next frame while the model waits for nothing else. It costs some percent of a core.
FRAME_POLL_S = 0.002
STILL_POLL_S = 0.05  # the same while every picture stands still

log = logging.getLogger(__name__)


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
        rules: RuleKeeper,
        gate: Gate,
    ) -> None:
        self._prompt: str | None = None
        self.model_info: dict[str, Any] | None = None
        self.model_problem: str | None = None
        """Why the model last failed to start; None while it starts for the first time, restarts, or runs."""
        self._tally = Tally()
        self.stage_times, self.counts = self._tally.stage_times, self._tally.counts
        self._scheduler, self._cameras, self._publisher = scheduler, cameras, publisher
        self._submit, self._observe = submit, observe
        self._command_timeout_s = command_timeout_s
        self._rules, self._novelty = rules, Novelty(cameras, gate, rules)
        self._number = 0
        self._current: list[Job] = []  # what the request in flight is for
        self._worked_s = time.monotonic()  # when the last request ended, or the model became ready

    @property
    def prompt(self) -> str | None:
        """How captions begin; None for the model's own way."""
        return self._prompt

    @prompt.setter
    def prompt(self, prompt: str | None) -> None:
        self._prompt = prompt
        self._novelty.renew()

    @property
    def is_ready(self) -> bool:
        """The model process has loaded."""
        return self.model_info is not None

    def quiet_s(self, now_s: float) -> float:
        """How long the model has been ready and had nothing to do; 0 while it has."""
        if self._current or self._scheduler.waiting or not self.is_ready:
            return 0.0
        return max(0.0, now_s - self._worked_s)

    @property
    def queue_length(self) -> int:
        """Awaited jobs that have not begun."""
        return len(self._scheduler.waiting)

    @property
    def has_room(self) -> bool:
        """Another question would not be told `busy`."""
        return self._scheduler.has_room

    def ask(self, question: Question) -> None:
        """Take a question; from here on its answer is owed."""
        deadline_s = time.monotonic() + question.timeout_s
        self._accept(Job("", question=question, deadline_s=deadline_s), question.camera)

    def can_see(self, camera: str | None) -> bool:
        """Whether a question about this camera (None: any) would find a picture."""
        return any(self._cameras.frame_id(name) is not None for name in self._meant(camera))

    def may_see_soon(self, camera: str | None) -> bool:
        """Whether it would find none yet, but is likely to, because a camera of the kind is still starting."""
        starting = any(self._cameras.is_starting(name) for name in self._meant(camera))
        return starting and not self.can_see(camera)

    def caption_now(self, command: Command) -> None:
        """Take a `request/caption`; from here on its response is owed."""
        deadline_s = time.monotonic() + self._command_timeout_s
        self._accept(Job("", command=command, deadline_s=deadline_s), command.camera)

    def handle(self, event: ModelEvent) -> None:
        """Take one event of the model client."""
        match event:
            case ModelReady(info):
                self.model_info, self.model_problem, self._worked_s = info, None, time.monotonic()
                self._rules.model_ready()
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
        if following := self._scheduler.next_jobs(now_s, self._novelty.to_caption, self._novelty.to_judge):
            self._begin(following)

    def next_event_s(self) -> float:
        """Monotonic time at which `work` has something to do even if no event comes."""
        deadline_s = min((job.deadline_s for job in self._unsettled()), default=math.inf)
        if self._current or not self.is_ready:
            return deadline_s  # nothing can begin before the reply, or the model's start, and both are events
        # A frame is no event, and a camera that is offline delivers none. One that is due has no new frame yet.
        online = [name for name in self._cameras.names() if self._cameras.frame_id(name) is not None]
        due_s = min(self._scheduler.next_caption_s(online), self._scheduler.next_rules_s(online))
        poll_s = FRAME_POLL_S if self._novelty.moves(online) else STILL_POLL_S
        return min(deadline_s, max(due_s, time.monotonic() + poll_s))

    def shut_down(self, not_asked: Sequence[Question] = ()) -> None:
        """Settle every debt, and those of questions `not_asked` yet, with `model_unavailable`: the service ends."""
        for job in (*self._unsettled(), *(Job(each.camera or "", question=each) for each in not_asked)):
            self._fail(job, "model_unavailable", "The service is shutting down; ask again when it is online.")
        self._scheduler.drain()

    def _meant(self, camera: str | None) -> tuple[str, ...]:
        """The cameras that a question about `camera` may be answered from; none if there is no such one."""
        return tuple(name for name in self._cameras.names() if camera in (None, name))

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
        elif job.deadline_s <= time.monotonic():
            self._time_out(job)
        elif not self._scheduler.add(job):
            self._fail(job, "busy", f"{self.queue_length} questions are waiting already; ask again later.")
        else:
            self.work()

    def _begin(self, jobs: list[Job]) -> None:
        self._number += 1
        self._current = jobs
        first = jobs[0]
        region, keep = self._cameras.region(first.camera), self._rules.wants_snapshots(first.camera)
        if first.snapshot_of is not None:
            request = snapshot_request(first)
        elif first.question is not None:
            request = question_request(jobs, region, keep=keep)
        elif first.rule is not None:
            request = rules_request(jobs, region, captioned=self._novelty.captioned(first.camera), keep=keep)
        else:
            following = self._scheduler.forecast(time.monotonic(), self._novelty.to_caption)
            request = caption_request(first, region, prompt=self.prompt, following=following, keep=keep)
        self._submit(self._number, request)

    def _finish(self, number: int) -> list[Job]:
        assert self._current and number == self._number
        jobs, self._current, self._worked_s = self._current, [], time.monotonic()
        return jobs

    def _on_down(self, reason: str, *, hopeful: bool) -> None:
        self.model_info = None
        if hopeful:
            return  # it ran a moment ago and will again: questions wait for it
        self.model_problem = reason
        self._rules.model_failed(reason)
        for job in self._scheduler.drain():
            self._fail(job, "model_unavailable", f"The model cannot start: {reason}")

    def _on_lost(self, jobs: list[Job], reason: str) -> None:
        self.counts["lost_inferences"] += 1
        for job in jobs:
            job.attempts += 1
            if (job.is_awaited or job.rule) and job.attempts == ATTEMPTS:
                self._fail(job, "model_unavailable", f"The model failed {ATTEMPTS} times on this request: {reason}")
        rules = [job for job in jobs if job.rule and job.snapshot_of is None and job.attempts < ATTEMPTS]
        again = [job for job in jobs if job.is_awaited] + rules
        self.counts["retried"] += len(again)
        self._scheduler.put_back(again)

    def _on_snapshot(self, job: Job, reply: dict[str, Any]) -> None:
        """Publish the picture of an event; a model that died meanwhile has taken it along."""
        assert job.rule is not None
        if reply.get("ok"):
            self._rules.pictured(job.rule, base64.b64decode(reply["results"][0]["jpeg"]))
        else:
            log.warning("snapshot missed id=%s reason=%r", job.rule.id, reply.get("message"))

    def _on_reply(self, jobs: list[Job], reply: dict[str, Any]) -> None:
        if jobs[0].snapshot_of is not None:
            for job in jobs:
                self._on_snapshot(job, reply)
            return
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
            if not any(job.rule and job.rule.snapshot for job in jobs):
                self.work()  # before anything is published, which takes longer: meanwhile the model is at work again
            for job, result in told:
                self._tell(job, result)  # a picture is to be queued before the next rules: theirs takes its place

    def _on_refusal(self, jobs: list[Job], code: ErrorCode, message: str) -> None:
        unsettled = [job for job in jobs if not job.settled]
        if len(jobs) > 1:  # one question of them is at fault: now each for itself
            self._scheduler.put_back(unsettled)
            return
        for job in unsettled:
            if job.question is None and job.rule is None:
                self._novelty.refused(job.camera)
            self._fail(job, code, message)

    def _result(self, job: Job, values: dict[str, Any]) -> Result | None:
        """What the model sent for a job; None, and the job has failed, if it is a refusal or not what it promises."""
        if job.rule is not None and values.get("ok") is False:
            self._fail(job, "bad_request", str(values.get("message")))
            return None
        try:
            result = from_worker(
                "answer" if job.question or job.rule else "caption",
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
            self._novelty.saw(job.camera, job.rule, result.frame_id or 0, int(values["change"]))
        return result

    def _tell(self, job: Job, result: Result) -> None:
        """Count, show and publish a result."""
        self._tally.count(job, result)
        if job.rule is not None:
            made_event = self._rules.answered(job.rule, result, time.monotonic())
            if made_event and job.rule.snapshot:
                self._scheduler.put_back([Job(job.camera, rule=job.rule, snapshot_of=result.frame_id)])
            return
        self._observe(result)
        if job.question is None:
            self._publisher.caption(job.camera, result)
        self._settle(job, result)

    def _time_out(self, job: Job) -> None:
        if self.is_ready:
            self._fail(job, "timeout", "The answer took longer than the time allowed; ask again, or allow more.")
        else:
            self._fail(job, "model_unavailable", "The model is still starting; ask again later.")

    def _fail(self, job: Job, code: ErrorCode, message: str) -> None:
        if job.rule is not None:
            # Of an offline camera its status tells, and a rule without a snapshot is still a rule.
            if code != "camera_unavailable" and job.snapshot_of is None:
                self._rules.failed(job.rule, message, time.monotonic())
            return
        if not job.is_awaited:
            self._tally.caption_failed(job.camera, message)
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

    def _unsettled(self) -> list[Job]:
        return [job for job in (*self._current, *self._scheduler.waiting) if job.is_awaited]
