"""Which frames of a live camera are used."""

from __future__ import annotations

import random

import pytest

from edge_app.camera.pace import Pace


@pytest.mark.parametrize(
    ("camera_fps", "asked_fps", "used_fps"), [(30, 30, 30), (30, 15, 15), (30, 20, 20), (25, 10, 10), (5, 15, 5)]
)
def test_asked_rate_is_met_whatever_the_camera_gives(camera_fps: float, asked_fps: float, used_fps: float) -> None:
    """Over 20 s with 4 ms of jitter the used frames are as many as asked for, or all that there are."""
    jitter = random.Random(3)
    pace = Pace(asked_fps)
    times_s = [100 + number / camera_fps + jitter.uniform(-0.004, 0.004) for number in range(20 * int(camera_fps))]
    used = sum(pace.takes(now_s) for now_s in times_s)
    assert used == pytest.approx(20 * used_fps, abs=2)


def test_nothing_is_caught_up_after_a_gap() -> None:
    """A camera that was silent for an hour does not get its frames through faster afterwards."""
    pace = Pace(1)
    assert pace.takes(0.0)
    used = [pace.takes(3600 + number / 10) for number in range(50)]  # 5 s at 10 fps
    assert 5 <= sum(used) <= 6
