"""A deadline that moves with progress, and with nothing else; the times are handed in."""

from __future__ import annotations

from typing import Any

import pytest

from edge_app.start_deadline import StartDeadline


def stage(name: Any) -> dict[str, Any]:
    return {"event": "stage", "stage": name}


def test_each_new_step_has_the_whole_time() -> None:
    """Twice 9 s of 10: still in time; the step in hand is named."""
    deadline = StartDeadline(10, now_s=100)
    assert not deadline.is_over(109)
    assert deadline.note(stage("compiling vision"), 109)
    assert not deadline.is_over(118)
    assert deadline.is_over(119.5)
    assert deadline.words == "not ready after 10 s of compiling vision"


@pytest.mark.parametrize("event", [stage("checking"), stage(None), stage(7), {"event": "trying"}, {"event": "stage"}])
def test_what_is_no_new_step_moves_nothing(event: dict[str, Any]) -> None:
    """One that was named before, events of other kinds, and what no worker sends."""
    deadline = StartDeadline(10, now_s=0)
    assert deadline.note(stage("checking"), 1)
    assert not deadline.note(event, 9)
    assert deadline.is_over(11.5)


def test_before_the_first_step_none_is_named() -> None:
    """A process that hangs in its imports."""
    assert StartDeadline(180, now_s=0).words == "not ready after 180 s"
