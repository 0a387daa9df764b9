"""Which graphs a GPU computes in FP32: as the settings, the bundle and a measurement say. No GPU is needed here."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import openvino as ov
import openvino.properties.hint as hints
import pytest

import edge_app.demo
from edge_app.errors import BundleError, DeviceError
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.device import Compiler, gpus_of
from edge_app.model.gpu_precision import GpuPrecision, f32_roles, is_f32_better
from edge_app.model.loading import load_models
from edge_app.model.manifest import GpuSpec, Role
from edge_app.model.vision_precision import GoldenDifferences, better_vision
from edge_app.model.vlm import VisionLanguageModel

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
EVERY: frozenset[Role] = frozenset({"vision", "caption_memory", "question_memory", "question_encoder", "decoder"})


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEMO)


def with_gpu(bundle: Bundle, spec: GpuSpec | None) -> Bundle:
    return dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"gpu": spec}))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("auto", {"decoder", "vision"}), ("f16", set()), ("f32", EVERY)],
    ids=["auto", "f16", "f32"],
)
def test_auto_is_f16_but_for_what_is_named_or_measured(
    bundle: Bundle, wanted: GpuPrecision, expected: set[Role]
) -> None:
    """A precision that is asked for is for all graphs."""
    manifest = with_gpu(bundle, GpuSpec(f32=("decoder",))).manifest
    assert f32_roles(wanted, manifest, frozenset({"vision"})) == expected


def test_a_bundle_that_says_nothing_of_gpus_needs_no_f32(bundle: Bundle) -> None:
    """Those made before there was the key."""
    assert with_gpu(bundle, None).manifest.f32_on_gpu == frozenset()


@pytest.mark.parametrize(
    ("f16", "f32", "better"),
    [
        (0.033, 0.030, False),  # the demo bundle under emulation
        (0.09, 0.01, False),  # nine times as far off, and far from changing a text
        (0.22, 0.03, True),
        (0.289, 0.192, False),  # BLIP-base with random weights: it is not the precision that is at fault
    ],
)
def test_f32_has_to_be_worth_it(f16: float, f32: float, better: bool) -> None:
    """Well above means both: in standard deviations of the logits, and as a multiple."""
    assert is_f32_better(f16, f32) is better


@pytest.mark.parametrize(
    ("f16", "f32", "expected"),
    [
        (0.22, 0.03, GoldenDifferences(0.03, 0.22, 0.03)),
        (0.04, 0.03, GoldenDifferences(0.04, 0.04, 0.03)),
        (None, 0.03, GoldenDifferences(0.03, None, 0.03)),
        (0.22, None, GoldenDifferences(0.22, 0.22, None)),
        (None, None, None),
    ],
)
def test_vision_gets_the_precision_that_the_golden_sample_asks_for(
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    f16: float | None,
    f32: float | None,
    expected: GoldenDifferences | None,
) -> None:
    """By logits; one precision that is refused leaves the other, and two leave the reason for FP16."""
    model = VisionLanguageModel(bundle, threads=1)
    made: list[frozenset[Role]] = []

    def make(*, gpu_f32: frozenset[Role]) -> VisionLanguageModel:
        made.append(gpu_f32)
        return model

    def difference(_: VisionLanguageModel) -> float:
        off = f32 if "vision" in made[-1] else f16
        if off is None:
            raise DeviceError(f"off with {sorted(made[-1])}")
        return off

    monkeypatch.setattr("edge_app.model.vision_precision.verify", difference)
    if expected is None:
        with pytest.raises(DeviceError, match=r"off with \[\]"):
            better_vision(bundle.manifest, "GPU", make)
        return
    assert better_vision(bundle.manifest, "GPU", make) == (model, expected)
    assert made == [frozenset(), frozenset({"vision"})]


def test_where_there_is_nothing_to_choose_vision_is_compiled_once(bundle: Bundle) -> None:
    """On a CPU, and where the bundle names it."""
    named = with_gpu(bundle, GpuSpec(f32=("vision",)))
    for manifest, device in ((bundle.manifest, "CPU"), (named.manifest, "GPU")):
        made: list[frozenset[Role]] = []

        def make(*, gpu_f32: frozenset[Role], made: list[frozenset[Role]] = made) -> VisionLanguageModel:
            made.append(gpu_f32)
            return VisionLanguageModel(bundle, threads=1)

        _, golden = better_vision(manifest, device, make)
        assert made == [manifest.f32_on_gpu] and golden.vision_f32 is None and golden.chosen < 0.1


def test_on_the_cpu_all_is_f32_and_nothing_is_told_of_gpus(bundle: Bundle) -> None:
    """A setting for GPUs changes no text of a board without one."""
    for precision in ("auto", "f16", "f32"):
        loaded = load_models([DEMO], device="CPU", threads=1, gpu_precision=precision)
        assert loaded.info()["bundles"][0]["gpu_f32"] == []
    compiled = Compiler("CPU", threads=1).compile_model(bundle.role_path("decoder"), gpu_f32=False)
    assert compiled.get_property(hints.inference_precision()) == ov.Type.f32


def test_gpus_are_found_in_the_names_of_devices() -> None:
    """Alone, numbered, among others."""
    assert gpus_of("GPU") == ["GPU"] and gpus_of("GPU.1") == ["GPU.1"]
    assert gpus_of("HETERO:GPU.0,CPU") == ["GPU.0"] and gpus_of("HETERO:CPU") == [] and gpus_of("CPU") == []


def rewritten(folder: Path, change: dict[str, Any]) -> Path:
    """A copy of the demo bundle whose manifest has these keys."""
    shutil.copytree(DEMO, folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return folder


def test_a_manifest_names_only_graphs_that_it_has(tmp_path: Path) -> None:
    """The key may be there or not; a role that is unknown, or a value that is not finite, is refused in a sentence."""
    good = rewritten(tmp_path / "good", {"gpu": {"f32": ["vision"], "largest_activation": {"vision": 70000.5}}})
    assert open_bundle(good).manifest.f32_on_gpu == {"vision"}
    with pytest.raises(BundleError, match="gpu"):
        open_bundle(rewritten(tmp_path / "unknown", {"gpu": {"f32": ["ears"]}}))
    manifest = json.loads((DEMO / "manifest.json").read_text())
    roles = {role: files for role, files in manifest["roles"].items() if role != "caption_memory"}
    change = {"gpu": {"f32": ["caption_memory"]}, "roles": roles, "tasks": ["vqa"]}
    with pytest.raises(BundleError, match=r"gpu\.f32 names caption_memory, of which there is no graph"):
        open_bundle(rewritten(tmp_path / "absent", change))
