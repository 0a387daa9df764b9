"""What the model's process is asked, as the messages that edge_app/model/worker.py takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_app.messages import Region
from edge_app.scheduler import Job


def caption_request(
    job: Job, region: Region | None, *, prompt: str | None, following: str | None, keep: bool
) -> dict[str, Any]:
    """A caption of `region`.

    `following` is the camera whose caption is forecast to be next, so that a model on two devices can encode its frame
    while it decodes this one; `keep` has the pixels kept for the rules that come after it.
    """
    return {"op": "caption", "camera": job.camera, "prompt": prompt, "region": region, "next": following, "keep": keep}


def question_request(jobs: Sequence[Job], region: Region | None, *, keep: bool) -> dict[str, Any]:
    """Questions about the same part of the same picture; `region` where they name none.

    `keep` has the pixels kept for the rules that may come after them.
    """
    questions = [job.question for job in jobs if job.question]
    asked = questions[0]
    return {
        "op": "ask",
        "camera": jobs[0].camera,
        "questions": [question.question for question in questions],
        "choices": list(asked.choices) if asked.choices else None,
        "region": asked.region or region,
        "keep": keep,
    }


def rules_request(jobs: Sequence[Job], region: Region | None, *, captioned: int | None, keep: bool) -> dict[str, Any]:
    """Rules about one frame, and about `region` of it where they name none.

    The frame is that of the caption before, whose encoding is at hand, where they follow one.
    """
    rules = [job.rule for job in jobs if job.rule]
    return {
        "op": "rules",
        "camera": jobs[0].camera,
        "questions": [rule.question for rule in rules],
        "regions": [rule.region or region for rule in rules],
        "frame": captioned if jobs[0].follows else None,
        "keep": keep,
    }


def snapshot_request(job: Job) -> dict[str, Any]:
    """The picture of a frame that rules were about."""
    return {"op": "snapshot", "camera": job.camera, "frame": job.snapshot_of}
