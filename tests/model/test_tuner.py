"""The process that measures placements, with real graphs; `HETERO:CPU` stands in for a second device."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import edge_app.demo
from edge_app.checks.children import awaited_event
from edge_app.child import Child
from edge_app.model.bundle import open_bundle
from edge_app.model.choice import choice_path, find_choice, measurable
from edge_app.model.compiled_cache import cache_folder
from edge_app.model.idle import wait_until_idle
from edge_app.model.loading import load_models
from edge_app.start_deadline import StartDeadline
from edge_app.trial_load import TUNER_MODULE

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
TWO = ["CPU", "HETERO:CPU"]

Measure = Callable[..., tuple[dict[str, Any] | None, list[str], int]]


@pytest.fixture
def measure(tmp_path: Path) -> Iterator[Measure]:
    """Run the process: its last event, the steps that it named, and its priority when it was at work."""
    children: list[Child] = []

    def run(**more: Any) -> tuple[dict[str, Any] | None, list[str], int]:
        order = {
            "bundles": [str(DEMO)],
            "state_dir": str(tmp_path / "state"),
            "cache_dir": str(tmp_path / "cache"),
            "trusted_keys": [],
            "threads": 1,
            "full_rate": False,
            "runs": 1,
            "devices": TWO,
            "log_level": "ERROR",
        }
        child = Child("tuner", TUNER_MODULE, hello=order | more)
        children.append(child)
        child.start()
        stages: list[str] = []
        niceness: list[int] = []

        def note(stage: str) -> None:
            stages.append(stage)
            if child.pid is not None:  # one with nothing to measure may have ended before its stages are read
                niceness.append(_niceness(child.pid))

        event = awaited_event(child, {"ready", "failed"}, StartDeadline(60, time.monotonic()), note)
        return event, stages, niceness[-1] if niceness else 0

    yield run
    for child in children:
        child.stop(2)


def _niceness(pid: int) -> int:
    """As the kernel has it; field 19 of stat, the first two being a number and a name in brackets."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[16])


def test_what_was_measured_is_kept_and_loaded(measure: Measure, tmp_path: Path) -> None:
    """All combinations, with low priority, each step named before it begins; `info` tells it; not a second time."""
    event, stages, niceness = measure()
    assert event is not None and event["event"] == "ready", event
    (found,) = event["found"]
    bundle = open_bundle(DEMO)
    assert found["hash"] == bundle.hash
    trials = found["placement"]["measurement"]["trials"]
    assert {(trial["picture"], trial["text"]) for trial in trials} == {(one, two) for one in TWO for two in TWO}
    assert (trials[0]["picture"], trials[0]["text"]) == (found["placement"]["picture"], found["placement"]["text"])
    assert niceness == 10
    assert f"measuring {bundle.label} on CPU+HETERO:CPU, round 2 of 2" in stages
    choice, problem = find_choice(tmp_path / "state", bundle)
    assert choice is not None and problem is None

    loaded = load_models([DEMO], threads=1, state_dir=tmp_path / "state")
    (told,) = loaded.info()["bundles"]
    assert told["placement"] == found["placement"]
    assert loaded.unmeasured == ()

    event, stages, _ = measure()
    assert event == {"event": "ready", "found": []}
    assert not [stage for stage in stages if stage.startswith("measuring")]


def test_a_scratch_folder_leaves_the_folder_of_the_service_alone(measure: Measure, tmp_path: Path) -> None:
    """It begins with a copy, so what is compiled for the service is not compiled again."""
    cache, scratch = tmp_path / "cache", tmp_path / "cache" / "measuring"
    load_models([DEMO], device="CPU", threads=1, cache_dir=cache)
    folder = cache_folder(cache, open_bundle(DEMO).hash)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    event, _, _ = measure(scratch_dir=str(scratch))
    assert event is not None and event["event"] == "ready", event
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    copied = {path.name for path in cache_folder(scratch, open_bundle(DEMO).hash).iterdir()}
    assert copied > set(before) - {name for name in before if name.startswith("hashes")}


def test_a_folder_that_cannot_be_written_is_the_reason(measure: Measure, tmp_path: Path) -> None:
    """Before minutes of measurement."""
    (tmp_path / "state").write_text("", encoding="utf-8")
    event, stages, _ = measure()
    assert event is not None and event["event"] == "failed"
    assert "cannot be written" in event["reason"]
    assert not stages


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (["CPU"], []),
        (["CPU", "GPU"], ["CPU", "GPU"]),
        (["CPU", "GPU.0", "GPU.1", "NPU"], ["CPU", "GPU.0", "GPU.1"]),
        (["CPU", "NPU"], []),
    ],
)
def test_only_what_auto_may_choose_is_measured(available: list[str], expected: list[str]) -> None:
    """An NPU is for who asks for it; one device leaves no choice."""
    assert measurable(available) == expected


@pytest.mark.parametrize(
    ("settings", "is_due"), [({}, True), ({"device": "CPU"}, False), ({"text_device": "CPU"}, False)]
)
def test_what_nobody_has_measured_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], is_due: bool
) -> None:
    """Only where the devices are left to AUTO, there are several, and none of them is left out."""
    monkeypatch.setattr("edge_app.model.loading.measurable", lambda _: TWO)
    loaded = load_models([DEMO], threads=1, state_dir=tmp_path, **settings)
    assert loaded.unmeasured == ((str(DEMO),) if is_due else ())
    assert loaded.info()["bundles"][0]["placement"] == {
        "picture": "CPU",
        "text": "CPU",
        "by": "order" if is_due else "configuration",
        "measurement": None,
    }
    barred = load_models([DEMO], threads=1, state_dir=tmp_path, left_out={"GPU": "GPU is left out."}, **settings)
    assert barred.unmeasured == ()


def test_a_choice_of_a_version_that_kept_no_measurement_holds(tmp_path: Path, measure: Measure) -> None:
    """What a board has measured is not lost with an update."""
    measure()
    path = choice_path(tmp_path / "state", open_bundle(DEMO))
    kept = json.loads(path.read_bytes())
    del kept["measurement"]
    path.write_text(json.dumps(kept))
    choice, problem = find_choice(tmp_path / "state", open_bundle(DEMO))
    assert choice is not None and problem is None and choice.measurement is None


def test_waiting_for_idle_has_a_limit() -> None:
    """A process that computes all the time is waited for no longer than that; one that does nothing is done."""
    busy = threading.Event()

    def compute() -> None:
        while not busy.is_set():
            sum(range(10_000))

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        assert not wait_until_idle(1.5)
    finally:
        busy.set()
        thread.join()
    assert wait_until_idle(30)
