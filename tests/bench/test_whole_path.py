"""What the stretches of `tests.bench.whole_path` amount to, by figures that can be worked out by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest

from edge_app.messages import rfc3339
from tests.bench.bare import Stretch
from tests.bench.node import Received
from tests.bench.whole_path import Measured, figures, spread, table


def received(arrived_s: float, *, inference_ms: float = 100.0, age_ms: float = 130.0) -> Received:
    """A caption that was published at once: its frame was captured `age_ms` before it arrived."""
    arrived_unix_s = arrived_s + time.time() - time.monotonic()
    result: dict[str, Any] = {
        "ts": rfc3339(arrived_unix_s),
        "frame_ts": rfc3339(arrived_unix_s - age_ms / 1000),
        "age_ms": age_ms,
        "timing_ms": {"total": inference_ms},
    }
    return Received(arrived_s, result)


def test_the_overhead_is_how_much_longer_a_caption_takes() -> None:
    """10 a second bare and 8 with the service: 125 ms against 100; of 125 ms 105 are inference, so 20 lie between."""
    stretch = [received(5 + 0.125 * number, inference_ms=105) for number in range(9)]
    measured = Measured(
        alone=[Stretch(11.0, (90.0,), (5,))],
        bare=[Stretch(10.0, (100.0,), (5,))],
        service=[stretch],
        service_cpu=[0.02],
    )
    report = figures(measured)
    assert report["captions_per_s"] == {"alone": 11.0, "bare": 10.0, "service": 8.0}
    assert (report["overhead_percent"], report["camera_percent"]) == (25.0, 10.0)
    assert report["between_inferences_ms"] == {"bare": pytest.approx(0), "service": pytest.approx(20)}
    assert report["between_percent"] == 19.0  # 20 of 105
    assert report["age_at_publication_beyond_inference_ms"] == {"p50": 25.0, "p95": 25.0, "max": 25.0, "n": 9}
    assert report["age_on_arrival_ms"]["p50"] == pytest.approx(130, abs=2)  # published times are whole milliseconds
    assert "question_waits_ms" not in report


def test_a_question_waits_from_its_publication_to_the_begin_of_its_inference() -> None:
    """The inference ended when the result was made, and had taken its time before that."""
    answer = received(50.0, inference_ms=200)
    arrived_unix_s = 50.0 + time.time() - time.monotonic()
    assert answer.begun_unix_s == pytest.approx(arrived_unix_s - 0.2, abs=0.002)


def test_rounds_are_paired_and_the_median_of_their_ratios_is_told() -> None:
    """A round on a machine twice as slow changes nothing: both of its stretches are slow."""
    quick = [received(0.1 * number) for number in range(11)]
    slow = [received(10 + 0.2 * number) for number in range(11)]
    measured = Measured(
        alone=[Stretch(10.5, (), ()), Stretch(5.25, (), ())],
        bare=[Stretch(10.5, (95.0,), (5,)), Stretch(5.25, (190.0,), (5,))],
        service=[quick, slow],
        service_cpu=[0.1, 0.1],
    )
    report = figures(measured)
    assert (report["overhead_percent"], report["camera_percent"]) == (5.0, 0.0)


def test_spread_takes_the_nearest_rank() -> None:
    """Of 1..20 the 95th percentile is the 19th; the median of an even number is between two."""
    assert spread(range(1, 21)) == {"p50": 10.5, "p95": 19, "max": 20, "n": 20}


def test_the_table_says_what_was_measured() -> None:
    """Every figure of a report with questions finds its line."""
    times = {"p50": 1.0, "p95": 2.0, "max": 3.0, "n": 4}
    text = table(
        {
            "bundle": "b",
            "cpu": "c",
            "threads": 2,
            "camera": "1280x720",
            "rounds": 1,
            "seconds": 1,
            "load_average": {"before": 0.1, "after": 2.0},
            "captions_per_s": {"alone": 3, "bare": 2, "service": 1},
            "overhead_percent": 4.5,
            "camera_percent": 5.5,
            "inference_ms": 100.0,
            "between_inferences_ms": {"bare": 0.5, "service": 1.5},
            "between_percent": 1.0,
            "age_at_publication_beyond_inference_ms": times,
            "age_at_publication_ms": times,
            "age_on_arrival_ms": times,
            "service_cpu_percent": 2.5,
            "question_waits_ms": times,
            "longest_inference_ms": 77.7,
            "start_to_first_caption_s": [2.25],
            "rss_mb": {"service": 39.0, "model": 700.0},
        }
    )
    assert all(words in text for words in ("service 1", "4.5 %", "waits for its inference", "77.7", "2.25 s", "700.0"))
