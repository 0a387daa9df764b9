"""Child processes as the checks use them: started, heard once, stopped."""

from __future__ import annotations

import time
from typing import Any

from edge_app.child import Child


def first_event(child: Child, wanted: set[str], timeout_s: float) -> dict[str, Any] | None:
    """The first of the child's events that is `wanted`; None if it ends or the time passes without one."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        is_alive = child.is_alive()  # asked first: what it sent before its end is still to be read
        for event in child.poll():
            if event["event"] in wanted:
                return event
        if not is_alive:
            return None
        time.sleep(0.05)
    return None
