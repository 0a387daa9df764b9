"""One stage of a bundle may have another precision than the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_app.model.bundle import open_bundle
from edge_app.model.loading import load_models
from export.__main__ import main

PICTURE = np.full((40, 60, 3), 90, np.uint8)


def export(*arguments: object) -> int:
    quick = ("--parity-pictures", 0, "--calibration-limit", 4, "--no-layer-search", "--accept-quality")
    return main([str(argument) for argument in (*arguments, *quick)])


def test_each_stage_has_the_precision_asked_for(
    small_checkpoint: Callable[[str], Path], calibration_folder: Path, tmp_path: Path
) -> None:
    """Manifest and board tell each stage's precision, 4-bit weights make the smaller file, and the bundle works."""
    mixed, plain = tmp_path / "mixed", tmp_path / "plain"
    stages = ("--stage", "decoder=int4", "--stage", "vision=fp16")
    assert export(small_checkpoint("vqa"), mixed, "--calibration", calibration_folder, *stages) == 0
    assert export(small_checkpoint("vqa"), plain, "--calibration", calibration_folder) == 0
    roles, uniform = open_bundle(mixed).manifest.roles, open_bundle(plain).manifest.roles
    assert roles["decoder"].precision == "int4"
    assert roles["vision"].precision == "fp16"
    assert {files.precision for role, files in roles.items() if role not in ("decoder", "vision")} == {"int8"}
    assert roles["decoder"].bin.size_bytes < uniform["decoder"].bin.size_bytes
    assert roles["vision"].bin.size_bytes > uniform["vision"].bin.size_bytes
    models = load_models([mixed], device="CPU")
    (told,) = models.info()["bundles"]
    assert told["precision"] == "int8, vision fp16, decoder int4"  # on the board's `info` topic, too
    model = models.serving("vqa")
    assert model.answer(model.encode(PICTURE), "is it dark?").tokens > 0


def test_four_bit_weights_need_no_calibration(small_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    """Weights alone are compressed, so there is nothing to calibrate; but what that costs goes unmeasured."""
    options = ("--precision", "fp16", "--stage", "decoder=int4", "--accept-quality")
    assert export(small_checkpoint("vqa"), tmp_path / "out", *options) == 0
    assert open_bundle(tmp_path / "out").manifest.roles["decoder"].precision == "int4"


def test_quantised_stage_needs_pictures(
    small_checkpoint: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One INT8 stage in an FP16 bundle is enough to ask for them."""
    assert export(small_checkpoint("vqa"), tmp_path / "out", "--precision", "fp16", "--stage", "vision=int8") == 1
    assert "give a folder with --calibration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("head=int8", "there is no stage 'head'; the stages are vision, "),
        ("vision=int3", "'vision=int3' names no precision of a stage; they are fp32, fp16, int8, int4"),
    ],
)
def test_unknown_stage_or_precision_is_refused(
    stage: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence lists what there is."""
    with pytest.raises(SystemExit):
        main(["nowhere", str(tmp_path / "out"), "--stage", stage])
    assert sentence in capsys.readouterr().err


def test_stage_that_the_bundle_lacks_is_refused(
    small_checkpoint: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle for captions has no question encoder to choose a precision for."""
    stage = ("--task", "caption", "--stage", "question_encoder=fp16")
    assert export(small_checkpoint("vqa"), tmp_path / "out", "--precision", "fp32", *stage) == 1
    assert "has no stage question_encoder; it has vision, " in capsys.readouterr().err
