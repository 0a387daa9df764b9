"""A flapping thing gets six lines a minute, and the seventh says how many were left out."""

from __future__ import annotations

import logging

import pytest

from edge_app.log_limit import LogLimit


def test_six_lines_a_minute_pass_and_the_rest_is_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten lines, one a second: six. When the first of them is a minute old, the next passes, with the count."""
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    limit = LogLimit(logging.getLogger("flapping"))
    for number in range(10):
        now_s = 1000.0 + number
        limit.tell(logging.WARNING, "line number=%d", number)
    now_s = 1061.0
    limit.tell(logging.WARNING, "line number=%d", 10)
    limit.tell(logging.WARNING, "line number=%d", 11)
    assert [record.message for record in caplog.records] == [
        *[f"line number={number}" for number in range(6)],
        "line number=10 lines_left_out=4",
        "line number=11",
    ]
