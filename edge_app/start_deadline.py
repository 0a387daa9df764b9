"""How long a process may take to load a model: each step has a deadline of its own, and the steps are few.

A first compilation takes minutes on a small board, and a hang takes for ever. Nothing outside the process can tell them
apart but its steps (one graph to compile, one check to run): it names each before it begins. The deadline moves with a
step that is named for the first time, so a process that repeats itself is not waited for.
"""

from __future__ import annotations

from typing import Any


class StartDeadline:
    """The deadline of one start. Plain state: the clock is an argument."""

    def __init__(self, step_s: float, now_s: float) -> None:
        """Begin now; a single step may take `step_s`."""
        self._step_s = step_s
        self._deadline_s = now_s + step_s
        self._stages: set[str] = set()
        self.stage = ""
        """The step that was named last, as part of a sentence; "" before the first."""

    def note(self, event: dict[str, Any], now_s: float) -> bool:
        """Take an event of the process; tell whether it names a new step, which moves the deadline."""
        stage = event.get("stage")
        if event["event"] != "stage" or not isinstance(stage, str) or stage in self._stages:
            return False
        self._stages.add(stage)
        self.stage = stage
        self._deadline_s = now_s + self._step_s
        return True

    def is_over(self, now_s: float) -> bool:
        """Tell whether the step in hand has taken too long."""
        return now_s > self._deadline_s

    @property
    def words(self) -> str:
        """What was waited for, as the end of a sentence: `not ready after 180 s of compiling ...`."""
        return f"not ready after {self._step_s:g} s" + (f" of {self.stage}" if self.stage else "")
