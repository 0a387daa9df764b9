"""What the model's process does while nobody asks: run shapes that were never run, and list what was compiled.

A chore is short, and one is begun only when no request waits; so a request that comes waits for one at most. Where
requests leave no pause, an overdue chore is done between two of them.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from edge_app.model.loading import LoadedModels
from edge_app.model.warm_up import idle_steps

QUIET_S = 0.1  # without a request, before a chore is begun
STEP_PAUSE_S = 0.5  # between two runs: what one has a GPU build in the background takes cores
LIST_PAUSE_S = 10.0  # between two looks at the compiled graphs
OVERDUE_S = 30.0

log = logging.getLogger(__name__)


class Chores:
    """The chores of one process. Not thread-safe: the thread that serves requests does them."""

    def __init__(self, models: LoadedModels) -> None:
        self._models = models
        self._steps = deque((model, step) for model in models.models for step in idle_steps(model))
        self._due_s = time.monotonic() + (STEP_PAUSE_S if self._steps else LIST_PAUSE_S)

    @property
    def has_shapes(self) -> bool:
        """Whether there are shapes that were not run yet."""
        return bool(self._steps)

    @property
    def wait_s(self) -> float | None:
        """How long to wait for a request before the next chore; 0 when it is overdue, None when there is none."""
        if not self._steps and all(model.cache is None for model in self._models.models):
            return None
        left_s = self._due_s - time.monotonic()
        return 0.0 if left_s < -OVERDUE_S else max(QUIET_S, left_s)

    def do_next(self) -> None:
        """Run one shape, or list what was compiled; raises DeviceError when the device failed."""
        if not self._steps:
            self.list_compiled()
            self._due_s = time.monotonic() + LIST_PAUSE_S
            return
        model, step = self._steps.popleft()
        encoding = model.encoder.newest
        if encoding is not None:  # which one does not matter, and loading has made one
            model.rehearse(encoding, step)
        if not self._steps:
            log.info("all shapes run bundle=%s", model.manifest.name)
        self._due_s = time.monotonic() + STEP_PAUSE_S

    def list_compiled(self) -> None:
        """Bring the lists of compiled graphs up to date, so that the next start finds them."""
        for model in self._models.models:
            if model.cache is not None:
                model.cache.list_written()
