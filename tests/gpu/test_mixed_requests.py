"""Serving builds nothing: all shapes are run before, and the next start finds what was built."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_app.demo.service import bundle_path
from edge_app.model.chores import Chores
from edge_app.model.loading import LoadedModels
from tests.gpu.emulation import settled
from tests.gpu.mixed_requests import Requests, rss_mb, warm

SHORT, FULL = 100, 2000  # requests
GROWTH_MB = 48  # what Python and malloc may take beside; a program that is built takes 10 to 57 MB


@pytest.fixture(scope="module")
def warmed(loaded: LoadedModels) -> LoadedModels:
    """The demo's bundle on the GPU, with all that its process does in idle moments done."""
    warm(Chores(loaded))
    return loaded


def test_requests_of_all_lengths_build_nothing(warmed: LoadedModels, request: pytest.FixtureRequest) -> None:
    """Captions, drafts, questions of 4 to 30 tokens, batches of 1 to 16, choices; and memory stays as it is."""
    requests = Requests(warmed.models[0])
    for _ in range(20):  # malloc takes its share
        requests.next()
    before, before_mb = settled(), rss_mb()
    for _ in range(FULL if request.config.getoption("--full") else SHORT):
        requests.next()
    after = settled()
    built = {name: after[name] - before[name] for name in ("builds_source", "builds_binary", "build_failures")}
    assert built == {"builds_source": 0, "builds_binary": 0, "build_failures": 0}
    assert rss_mb() - before_mb < GROWTH_MB


def test_next_start_builds_nothing_from_source(warmed: LoadedModels, cache: Path) -> None:
    """Loading, and every shape of the closed set: kernels that were built while serving were listed, and are kept."""
    for model in warmed.models:
        assert model.cache is not None
        model.cache.list_written()
    command = [sys.executable, "-m", "tests.gpu.mixed_requests", str(bundle_path())]
    script = subprocess.run(
        [*command, "--cache-dir", str(cache), "--requests", "10"], check=False, capture_output=True, text=True
    )
    assert script.returncode == 0, script.stderr
    phases = json.loads(script.stdout)["phases"]
    assert {name: phase["from_source"] for name, phase in phases.items()} == {"load": 0, "warm_up": 0, "requests": 0}
    assert phases["load"]["from_cache"] > 0
