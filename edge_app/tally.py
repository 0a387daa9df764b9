"""What the model has done so far: counted for `health`, a line in the log for each result."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter

from edge_app.health import StageTimes
from edge_app.messages import Result
from edge_app.scheduler import Job

DONE = {"captions": "captioned", "answers": "answered", "rules": "judged"}

log = logging.getLogger(__name__)


class Tally:
    """Owned by the main thread."""

    def __init__(self) -> None:
        self.stage_times = StageTimes()
        self.counts: Counter[str] = Counter()
        self._caption_problems: dict[str, str] = {}  # camera: why its last caption failed

    def count(self, job: Job, result: Result) -> None:
        """A job is done."""
        timing = result.timing_ms
        assert timing is not None
        self.stage_times.add(dataclasses.asdict(timing))
        kind = "rules" if job.rule else "answers" if job.question else "captions"
        self.counts[kind] += 1
        if kind == "captions":
            self._caption_problems.pop(job.camera, None)
        log.info(
            "%s camera=%s%s frame=%s tokens=%s vision_ms=%s decode_ms=%s total_ms=%s",
            DONE[kind],
            job.camera,
            f" id={asked.id!r}" if (asked := job.question or job.rule) else "",
            result.frame_id,
            result.tokens,
            timing.vision,
            timing.decode,
            timing.total,
        )

    def caption_failed(self, camera: str, message: str) -> None:
        """Log why captions fail when the reason changes, not at each one."""
        self.counts["failed_captions"] += 1
        if self._caption_problems.get(camera) != message:
            log.warning("caption failed camera=%s reason=%r", camera, message)
        self._caption_problems[camera] = message
