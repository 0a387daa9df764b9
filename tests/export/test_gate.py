"""The gate of the export: what loses too much is not written, and costly layers are found and kept in FP32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BlipForConditionalGeneration

from edge_app.model.bundle import open_bundle
from export import layer_search
from export.__main__ import main
from export.layer_search import first_count
from export.quantize import Quantiser
from export.sensitivity import Layer, costly, layers_of

OUTLIER = 1000.0  # of four hidden channels; the others lie within about 3


@pytest.fixture(scope="module")
def outlier_checkpoint(small_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioning checkpoint whose last MLP of the vision tower has four massive channels that cancel out.

    The channels are constant, and the bias behind them takes away what they add, so FP32 is as good as before; in
    8 bits their weights leave no steps for those of the other channels. The MLP is made to matter by larger weights.
    """
    source = small_checkpoint("caption")
    model = BlipForConditionalGeneration.from_pretrained(source)
    mlp: Any = model.vision_model.encoder.layers[2].mlp
    with torch.no_grad():
        mlp.fc2.weight *= 6
        mlp.fc1.bias[:4] += OUTLIER
        mlp.fc2.bias -= OUTLIER * mlp.fc2.weight[:, :4].sum(dim=1)
    folder = tmp_path_factory.mktemp("outlier")
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    model.save_pretrained(folder)
    return folder


def command(checkpoint: Path, out: Path, calibration: Path) -> list[str]:
    return [str(checkpoint), str(out), "--calibration", str(calibration), "--parity-pictures", "0"]


def test_a_bundle_that_lost_too_much_is_not_written(
    outlier_checkpoint: Path, calibration_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, the threshold and the worst texts are told with both precisions' words, and no file is left."""
    out = tmp_path / "out"
    assert main([*command(outlier_checkpoint, out, calibration_folder), "--no-layer-search"]) == 1
    told = capsys.readouterr().err
    assert "export: INT8 loses more than is allowed, so no bundle is written." in told
    assert "caption: mean KL " in told and "are allowed" in told
    worst = [line for line in told.splitlines() if ": FP32 '" in line]
    assert len(worst) == 2  # every fifth of twelve pictures was held out
    assert all(".jpg" in line or ".png" in line for line in worst)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_can_be_accepted_and_the_manifest_says_so(
    outlier_checkpoint: Path, calibration_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--accept-quality writes the bundle below its thresholds; figures, thresholds and the fact stand in it."""
    out = tmp_path / "out"
    options = ["--no-layer-search", "--accept-quality"]
    assert main([*command(outlier_checkpoint, out, calibration_folder), *options]) == 0
    quality = open_bundle(out).manifest.quality
    assert quality.accepted_below_thresholds and quality.kept is None
    assert quality.thresholds is not None
    loss = quality.loss["caption"]
    assert loss.mean_kl > quality.thresholds.max_picture_loss * loss.picture_kl
    assert (quality.pictures, loss.texts) == ("held out", 2)
    assert "below the thresholds and was accepted" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["manifest.json", "tokenizer.json"]
        + [f"{role}.{kind}" for role in ("vision", "caption_memory", "decoder") for kind in ("xml", "bin")]
    )


def test_the_layer_search_keeps_the_ruined_layer_and_passes(
    outlier_checkpoint: Path, calibration_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the search the same checkpoint passes: the layer behind the massive channels is kept, and at most one more.

    The price is that layer's weights in FP32: 320 x 80 of them, 3 bytes more each, 77 kB.
    """
    out = tmp_path / "out"
    assert main(command(outlier_checkpoint, out, calibration_folder)) == 0
    quality = open_bundle(out).manifest.quality
    assert quality.kept is not None and not quality.accepted_below_thresholds
    assert set(quality.kept.layers) == {"vision"}
    assert "encoder.layers.2.mlp.fc2" in quality.kept.layers["vision"]
    assert len(quality.kept.layers["vision"]) <= 2
    assert 70_000 < quality.kept.added_bytes < 170_000
    assert quality.loss["caption"].mean_kl < quality.kept.mean_kl_before["caption"] / 4
    assert "kept in fp32" in capsys.readouterr().out
    assert {path.suffix for path in out.iterdir()} == {".json", ".xml", ".bin"}


def test_search_in_vain_leaves_the_bundle_as_it_was(
    small_checkpoint: Callable[[str], Path], calibration_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted below a threshold that one layer does not mend: the plain INT8 decoder, byte for byte."""

    def one_layer(_: object, quantiser: Quantiser, *__: object) -> list[tuple[Layer, float]]:
        return [(layers_of("decoder", quantiser.operations("decoder"))[1], 1.0)]

    monkeypatch.setattr(layer_search, "find_costs", one_layer)
    decoder = ["--precision", "fp32", "--stage", "decoder=int8", "--accept-quality"]
    searched, plain = tmp_path / "searched", tmp_path / "plain"
    for out, options in ((searched, ["--max-kl", "1e-12"]), (plain, ["--no-layer-search"])):
        assert main([*command(small_checkpoint("caption"), out, calibration_folder), *decoder, *options]) == 0
    files, quality = open_bundle(searched).manifest.roles, open_bundle(searched).manifest.quality
    # The names that NNCF gives to constants in the .xml are numbered anew in each export.
    assert files["decoder"].bin == open_bundle(plain).manifest.roles["decoder"].bin
    assert (quality.kept, quality.accepted_below_thresholds) == (None, True)
    assert sorted(path.name for path in searched.iterdir()) == sorted(path.name for path in plain.iterdir())


def test_other_precisions_are_not_blamed_on_int8(
    small_checkpoint: Callable[[str], Path],
    calibration_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """INT4 loses what INT8 does not: no layer of the vision tower is tried, and the decoder is named."""
    options = ["--stage", "decoder=int4", "--max-kl", "0.0005"]
    assert main([*command(small_checkpoint("caption"), tmp_path / "out", calibration_folder), *options]) == 1
    told = capsys.readouterr().err
    assert "INT8, DECODER INT4 loses more than is allowed" in told
    assert "With FP32 in place of INT8 it loses too much all the same: decoder (int4) is at fault." in told
    assert "leave out --stage ROLE=int4" in told
    assert "keeping " not in told


def test_lossy_bundle_is_not_written_unmeasured(
    small_checkpoint: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a picture there is nothing to judge by: a person has to accept that."""
    arguments = [str(small_checkpoint("caption")), str(tmp_path / "out"), "--precision", "fp16"]
    assert main(arguments) == 1
    assert "give a folder with --quality DIR or --calibration DIR" in capsys.readouterr().err
    assert main([*arguments, "--accept-quality"]) == 0
    assert open_bundle(tmp_path / "out").manifest.quality.loss == {}


def test_pictures_that_were_calibrated_with_are_not_called_others(
    small_checkpoint: Callable[[str], Path], calibration_folder: Path, tmp_path: Path
) -> None:
    """--quality that names the calibration's own folder: the manifest says what the figures were measured on."""
    out = tmp_path / "out"
    arguments = command(small_checkpoint("caption"), out, calibration_folder)
    assert main([*arguments, "--quality", str(calibration_folder)]) == 0
    assert open_bundle(out).manifest.quality.pictures == "calibration"


def test_operations_are_grouped_as_the_checkpoint_has_them() -> None:
    """A layer is a module; what runs outside any module belongs to the block it runs in."""
    operations = [
        "__module.embeddings.words/aten::embedding/Gather",
        "__module.layers.0.attention.query/aten::linear/MatMul",
        "aten::matmul/MatMul",
        "__module.layers.0.output/aten::linear/MatMul",
        "__module.layers.10.output/aten::linear/MatMul",
    ]
    assert [(layer.name, layer.block) for layer in layers_of("decoder", operations)] == [
        ("embeddings.words", "embeddings.words"),
        ("layers.0.attention.query", "layers.0"),
        ("aten::matmul/MatMul", "layers.0"),
        ("layers.0.output", "layers.0"),
        ("layers.10.output", "layers.10"),
    ]


def test_parts_that_are_negligible_together_are_left_alone() -> None:
    """Of costs 3, 0.2 and 0.19 a tenth of the sum (3.39) may be left: one of the two small ones, not both."""
    assert costly({"small": 0.19, "large": 3.0, "other": 0.2}) == ["large", "other"]
    assert costly({"a": 0.001, "b": 0.002}) == ["b"]  # something is always looked into


def test_as_few_layers_are_kept_as_should_be_enough() -> None:
    """Of costs 3, 0.4 and 0.3 the first alone leaves 0.7, above half of what may be lost; two leave 0.3."""
    assert first_count([3.0, 0.4, 0.3]) == 2
    assert first_count([0.3]) == 1
