"""Commands on the GPU as a person runs them: the whole demo, the measurement of devices."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from edge_app.demo.service import bundle_path
from edge_app.model.bundle import open_bundle
from edge_app.model.choice import read_choice
from edge_app.model.placement import Placement
from tests.processes import ROOT


def edge_app(*arguments: str) -> list[dict[str, Any]]:
    """Run `edge-app ARGUMENTS --json` to its end and return its lines."""
    command = [sys.executable, "-m", "edge_app", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_demo_takes_the_gpu(cache: Path, tmp_path: Path) -> None:
    """Broker, service, model's process and rules, on device AUTO: what a board without any setting does."""
    *events, summary = edge_app("demo", "--seconds", "10", "--output", str(tmp_path), "--cache-dir", str(cache))
    captions = [event for event in events if event["event"] == "caption"]
    assert captions
    assert {caption["device"] for caption in captions} == {"GPU"}
    assert summary["device"] == "GPU"
    assert summary["objects"]["right"] / summary["objects"]["said"] > 0.9, summary
    assert summary["answers"] == summary["questions"] > 0, summary


def test_tune_measures_every_placement_and_keeps_one(cache: Path, tmp_path: Path) -> None:
    """GPU and CPU make four; which is fastest means nothing here, that each of them ran does."""
    arguments = ["--bundle", str(bundle_path()), "--cache-dir", str(cache), "--state-dir", str(tmp_path)]
    (report,) = edge_app("bench", *arguments, "--tune", "--runs", "1")
    assert report["refused"] == []
    measured = {(each["picture"], each["text"]) for each in report["combinations"]}
    assert measured == {(one, other) for one in ("CPU", "GPU") for other in ("CPU", "GPU")}
    choice, problem = read_choice(tmp_path, open_bundle(bundle_path()))
    assert problem is None
    chosen = report["chosen"]
    assert choice == Placement(chosen["picture"], chosen["text"], f32=frozenset(chosen["gpu_f32"]))
