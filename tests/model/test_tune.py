"""Every combination of devices is measured and the fastest one kept; `HETERO:CPU` stands in for a second device."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import edge_app.demo
from edge_app.__main__ import main
from edge_app.errors import DeviceError
from edge_app.model.bundle import open_bundle
from edge_app.model.choice import read_choice
from edge_app.model.device import Graph
from edge_app.model.loading import load_models
from edge_app.model.placement import Placement
from edge_app.model.tune import Trial, tune
from edge_app.model.vision_precision import GoldenDifferences

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
TWO = ("CPU", "HETERO:CPU")
COMBINATIONS = {(picture, text) for picture in TWO for text in TWO}


def run_tune(state: Path, *devices: str, bundle: Path = DEMO, more: tuple[str, ...] = ()) -> int:
    options = ["--bundle", str(bundle), "--state-dir", str(state), "--runs", "2", "--threads", "1", *more]
    return main(["bench", *options, "--tune", *devices])


def test_all_combinations_are_measured_and_the_fastest_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sorted by the time that counts, at full rate the pipelined one; the first is written, and AUTO loads it."""
    assert run_tune(tmp_path, *TWO, more=("--json", "--full-rate")) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    found = report["combinations"]
    assert {(trial["picture"], trial["text"]) for trial in found} == COMBINATIONS
    assert all((trial["pipelined_ms"] is not None) == (trial["picture"] != trial["text"]) for trial in found)
    judged_ms = [trial["pipelined_ms"] or trial["alone_ms"] for trial in found]
    assert judged_ms == sorted(judged_ms) and judged_ms[0] > 0
    assert report["work"] == "caption_new_ms"
    assert report["chosen"] == {key: found[0][key] for key in ("picture", "text", "gpu_f32")}
    assert all(0 <= trial["golden_difference"] < 0.5 for trial in found)
    assert {trial["golden_difference_vision_f32"] for trial in found} == {None}  # there is no GPU among them
    chosen = Placement(report["chosen"]["picture"], report["chosen"]["text"])
    assert read_choice(tmp_path, open_bundle(DEMO)) == (chosen, None)
    assert load_models([DEMO], threads=1, state_dir=tmp_path).models[0].placement == chosen


def test_a_machine_with_one_device_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line of figures, and that there was nothing to choose between."""
    assert run_tune(tmp_path, "CPU") == 0
    told = capsys.readouterr().out
    assert "Only CPU can run this bundle here: there is nothing to choose between." in told
    assert read_choice(tmp_path, open_bundle(DEMO)) == (Placement("CPU", "CPU"), None)


def test_a_device_that_cannot_run_the_bundle_is_told_and_left_out() -> None:
    """BATCH:CPU is there and refuses our settings; the other combinations are measured all the same."""
    tuning = tune(open_bundle(DEMO), ["BATCH:CPU", "CPU"], runs=1, threads=1)
    assert [trial.placement for trial in tuning.trials] == [Placement("CPU", "CPU")]
    assert tuning.refused and all("for BATCH:CPU" in sentence for sentence in tuning.refused)
    with pytest.raises(DeviceError, match="No device can run the model"):
        tune(open_bundle(DEMO), ["BATCH:CPU"], runs=1, threads=1)


def test_a_device_that_fails_under_load_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It passed its self-check; what the others took is not lost for it."""
    infer, left = Graph.infer, itertools.count(3, -1)

    def failing(graph: Graph) -> None:
        if graph.device == "HETERO:CPU" and graph.role == "vision" and next(left) <= 0:
            raise DeviceError("The vision graph failed on HETERO:CPU: out of resources.")
        infer(graph)

    monkeypatch.setattr(Graph, "infer", failing)
    tuning = tune(open_bundle(DEMO), TWO, runs=1, threads=1)
    assert {trial.placement.picture for trial in tuning.trials} == {"CPU"}
    assert tuning.refused == ("The vision graph failed on HETERO:CPU: out of resources.",)


def test_a_bundle_that_only_answers_is_judged_by_its_first_question() -> None:
    """It has no captions to make ahead, so a split counts as it is."""
    bundle = open_bundle(DEMO)
    golden = bundle.manifest.golden
    assert golden is not None
    golden = golden.model_copy(update={"texts": {"vqa": golden.texts["vqa"]}})
    manifest = bundle.manifest.model_copy(update={"tasks": ("vqa",), "golden": golden})
    tuning = tune(dataclasses.replace(bundle, manifest=manifest), TWO, runs=1, threads=1)
    assert tuning.work == "question_first_ms"
    assert [trial.pipelined_ms for trial in tuning.trials] == [None] * 4


def test_what_counts_at_full_rate_is_the_pipeline() -> None:
    """A split that is slower alone wins there if its sides work at the same time, and only there."""
    split = Trial(Placement("GPU", "CPU"), alone_ms=300.0, pipelined_ms=200.0, golden=GoldenDifferences(0.03))
    together = Trial(Placement("GPU", "GPU"), alone_ms=250.0, pipelined_ms=None, golden=GoldenDifferences(0.03))
    assert min(split, together, key=lambda trial: trial.judged_ms(full_rate=True)) is split
    assert min(split, together, key=lambda trial: trial.judged_ms(full_rate=False)) is together


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--tune", "GPU.7"), "OpenVINO finds no GPU.7 on this machine, only"),
        (("--tune", "--device", "CPU"), "name fewer behind it"),
        (("--tune", "--text-device", "CPU"), "name fewer behind it"),
        (("--tune", "--gpu-precision", "f16"), "tries both precisions for vision on a GPU"),
        (("--tune", "--tokens", "50"), "compares captions of 20 tokens; leave --tokens out"),
    ],
)
def test_what_cannot_be_tuned_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], words: str
) -> None:
    """A device that is not there, or a choice of devices in the wrong place: exit 1, nothing measured or written."""
    assert main(["bench", "--bundle", str(DEMO), "--state-dir", str(tmp_path), *more]) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
