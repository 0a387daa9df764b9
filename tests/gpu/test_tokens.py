"""The real GPU plugin gives the CPU's tokens: captions and answers, in FP16, also with every half rounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_app.demo.service import bundle_path
from edge_app.model.golden import TOLERANCE, verify
from edge_app.model.loading import LoadedModels, load_models
from edge_app.model.vlm import VisionLanguageModel
from tests.gpu.scenes import QUESTIONS, SCENES, tokens
from tests.processes import ROOT

FEW_SCENES = 4  # with every half rounded the kernels are not optimised, and a scene takes seconds


@pytest.fixture(scope="module")
def expected(on_cpu: VisionLanguageModel) -> list[dict[str, Any]]:
    """What the CPU says of the scenes: not the same of each, or equal tokens would prove little."""
    found = tokens(on_cpu)
    assert sum(len(scene["ids"]) for scene in found) == SCENES * (1 + QUESTIONS)
    assert len({scene["texts"][0] for scene in found}) > SCENES * 0.8
    return found


def test_golden_sample_passes(loaded: LoadedModels) -> None:
    """No fall-back, and the logits are off by far less than is allowed."""
    assert (loaded.device, loaded.fallbacks) == ("GPU", ())
    assert verify(loaded.models[0]) < TOLERANCE / 5  # measured: 0.033


def test_tokens_are_those_of_the_cpu(loaded: LoadedModels, expected: list[dict[str, Any]]) -> None:
    """20 captions and 80 answers in FP16, the plugin's own choice."""
    assert loaded.device == "GPU"
    assert tokens(loaded.models[0]) == expected


def test_tokens_are_those_of_the_cpu_with_every_half_rounded(
    strict_cache: Path, expected: list[dict[str, Any]], pytestconfig: pytest.Config
) -> None:
    """Without optimisation each sum is rounded to a half at every step, as no loop keeps it in a wider register."""
    count = SCENES if pytestconfig.getoption("--full") else FEW_SCENES
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.scenes", str(bundle_path()), "GPU", str(count), str(strict_cache)],
        env={**os.environ, "FAKEXE_OPTIONS": "-cl-opt-disable"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["info"]["device"], found["info"]["fallbacks"]) == ("GPU", [])
    assert found["tokens"] == expected[:count]


def test_picture_on_gpu_and_text_on_cpu(cache: Path, expected: list[dict[str, Any]]) -> None:
    """Each side on its own device: keys and values of the picture cross from one to the other."""
    model = load_models([bundle_path()], device="GPU", text_device="CPU", cache_dir=cache).models[0]
    assert model.device == "GPU+CPU"
    assert tokens(model) == expected
