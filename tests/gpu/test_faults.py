"""A GPU that refuses or computes wrongly is not used: the CPU serves, and it is said aloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_app.demo.service import bundle_path
from edge_app.model.vlm import VisionLanguageModel
from tests.gpu.scenes import tokens
from tests.processes import ROOT

SCENES = 2


def info_of_a_load(cache: Path, on_cpu: VisionLanguageModel, **environ: str) -> dict[str, Any]:
    """Load the demo's bundle in a process of this environment; its answers are right, or this fails. Returns `info`."""
    command = [sys.executable, "-m", "tests.gpu.scenes", str(bundle_path()), "GPU", str(SCENES), str(cache)]
    done = subprocess.run(command, env={**os.environ, **environ}, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tokens"] == tokens(on_cpu, SCENES)
    info: dict[str, Any] = found["info"]
    return info


def test_kernels_that_do_not_build_leave_it_to_the_cpu(tmp_path: Path, on_cpu: VisionLanguageModel) -> None:
    """With an empty cache, else nothing would be built. All of them fail: of one, the test waits for all others."""
    info = info_of_a_load(tmp_path, on_cpu, FAKEXE_FAIL="KERNEL(")
    assert (info["requested_device"], info["device"]) == ("GPU", "CPU")
    (told,) = info["fallbacks"]
    assert told.startswith("OpenVINO cannot compile ")
    assert "for GPU" in told


def test_gpu_that_computes_wrongly_is_refused_by_the_golden_sample(cache: Path, on_cpu: VisionLanguageModel) -> None:
    """The convolution of the picture does nothing, and nobody reports an error: only the results tell."""
    info = info_of_a_load(cache, on_cpu, FAKEXE_SKIP="convolution")
    assert (info["requested_device"], info["device"]) == ("GPU", "CPU")
    (told,) = info["fallbacks"]
    assert told.startswith("GPU does not compute the golden sample of edge-app-demo"), told


def test_gpu_whose_results_are_no_numbers_is_refused(cache: Path, on_cpu: VisionLanguageModel) -> None:
    """The decoder's softmax does nothing: what was in memory before is read as probabilities."""
    info = info_of_a_load(cache, on_cpu, FAKEXE_SKIP="softmax")
    assert (info["requested_device"], info["device"]) == ("GPU", "CPU")
    assert len(info["fallbacks"]) == 1


@pytest.mark.full
def test_gpu_with_broken_sub_groups_is_refused_by_the_golden_sample(
    tmp_path: Path, on_cpu: VisionLanguageModel
) -> None:
    """Work-items exchange values with the wrong ones; kernels are compiled anew for it."""
    info = info_of_a_load(tmp_path, on_cpu, FAKEXE_LINEAR="0")
    assert info["device"] == "CPU"
    assert "does not compute the golden sample" in info["fallbacks"][0]
