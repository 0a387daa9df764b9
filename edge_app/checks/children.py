"""Child processes as the checks use them: started, heard once, stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge_app.child import Child
from edge_app.start_deadline import StartDeadline


def first_event(child: Child, wanted: set[str], timeout_s: float) -> dict[str, Any] | None:
    """The first of the child's events that is `wanted`; None if it ends or the time passes without one."""
    return awaited_event(child, wanted, StartDeadline(timeout_s, time.monotonic()))


def awaited_event(
    child: Child, wanted: set[str], deadline: StartDeadline, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any] | None:
    """The same for a child that loads a model: each step that it names moves the deadline, and is told."""
    while not deadline.is_over(time.monotonic()):
        is_alive = child.is_alive()  # asked first: what it sent before its end is still to be read
        for event in child.poll():
            if event["event"] in wanted:
                return event
            if deadline.note(event, time.monotonic()):
                tell(deadline.stage)
        if not is_alive:
            return None
        time.sleep(0.05)
    return None
