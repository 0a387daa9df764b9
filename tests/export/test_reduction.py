"""Bundles that look at fewer image tokens: what they are, what they cost, and that the cost is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from edge_app.errors import BadRequestError
from edge_app.model.bundle import open_bundle
from edge_app.model.device import core
from edge_app.model.golden import verify
from edge_app.model.manifest import Generation, Manifest
from edge_app.model.region import image_mask
from edge_app.model.vlm import VisionLanguageModel
from export.__main__ import main
from export.checkpoint import load
from export.command_line import options_of, parser
from export.families.blip_reduced import reduced
from export.options import Options
from export.parity import processor_pixels
from export.reduction import reduced_checkpoint

Picture = NDArray[np.uint8]
QUESTION = "is there a dog?"


@pytest.mark.parametrize("image_px", [72, 120])
def test_states_of_another_size_are_transformers_own(small_checkpoint: Callable[[str], Path], image_px: int) -> None:
    """As with interpolate_pos_encoding=True, and of the same weights: only the position embeddings are new."""
    model = load(str(small_checkpoint("vqa"))).model
    resized = reduced(model, image_px=image_px, merge_tokens=0)
    pixels = torch.rand(1, 3, image_px, image_px, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.vision_model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state
        assert torch.equal(resized.vision_model(pixel_values=pixels).last_hidden_state, expected)
    theirs = dict(model.named_parameters())
    new = [name for name, tensor in resized.named_parameters() if tensor is not theirs[name]]
    assert new == ["vision_model.embeddings.position_embedding"]
    assert model.config.vision_config.image_size == 96  # the original is left as it was


@pytest.fixture(scope="module")
def small_picture_bundle(
    small_checkpoint: Callable[[str], Path], calibration_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """FP32, of 72 pixels where the checkpoint has 96."""
    out = tmp_path_factory.mktemp("reduced") / "small-picture"
    command = [small_checkpoint("vqa"), out, "--precision", "fp32", "--image-size", 72, "--parity-pictures", 2]
    assert main([str(argument) for argument in (*command, "--calibration", calibration_folder)]) == 0
    return out


@pytest.fixture(scope="module")
def merging_bundle(
    small_checkpoint: Callable[[str], Path], calibration_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """INT8, 5 tokens merged in each of 3 layers."""
    out = tmp_path_factory.mktemp("reduced") / "merging"
    command = [small_checkpoint("vqa"), out, "--merge-tokens", 5, "--parity-pictures", 2, "--no-layer-search"]
    command += ["--calibration", calibration_folder, "--accept-quality"]
    assert main([str(argument) for argument in command]) == 0
    return out


def test_a_smaller_picture_gives_the_tokens_of_transformers(
    small_picture_bundle: Path, small_checkpoint: Callable[[str], Path], photos: list[Picture]
) -> None:
    """The bundle's answers are those of `generate` with interpolate_pos_encoding=True on the checkpoint itself."""
    checkpoint = load(str(small_checkpoint("vqa")))
    model = VisionLanguageModel(open_bundle(small_picture_bundle))
    small = replace(checkpoint, processor=type(checkpoint.processor)(size={"height": 72, "width": 72}))
    asked = torch.tensor([model.codec.question_ids(QUESTION)])
    options = Generation(max_new_tokens=8)
    for photo in photos[:10]:
        pixels = torch.from_numpy(processor_pixels(small, photo))
        assert pixels.shape == (1, 3, 72, 72)
        with torch.no_grad():
            theirs = checkpoint.model.generate(
                pixel_values=pixels, input_ids=asked, interpolate_pos_encoding=True, max_new_tokens=8
            )
        ours = model.answer(model.encode(photo), QUESTION, options=options)
        assert list(ours.token_ids) == theirs[0].tolist()


def test_everything_follows_the_size(small_picture_bundle: Path) -> None:
    """72 / 12 = 6 patches a side and 6 x 6 + 1 = 37 states: manifest, golden sample, parity and regions."""
    bundle = open_bundle(small_picture_bundle)
    image, quality = bundle.manifest.image, bundle.manifest.quality
    assert (image.height_px, image.width_px, image.checkpoint_px) == (72, 72, 96)
    assert (image.patch_rows, image.patch_columns, image.positions) == (6, 6, 37)
    assert verify(VisionLanguageModel(bundle)) < 0.01
    assert quality.parity["vqa"].identical == quality.parity["caption"].identical == 2
    visible = np.flatnonzero(image_mask((0.0, 0.0, 0.5, 0.17), image)[0, 0, 0] == 0)
    assert visible.tolist() == [0, 1, 2, 3, 7, 8, 9]  # 0.17 of the height reaches into the second row


def test_what_the_size_costs_is_told_though_the_precision_loses_nothing(
    small_picture_bundle: Path,
) -> None:
    """Against FP32 of 96 pixels, on pictures held out; there is no loss against FP32 of 72."""
    quality = open_bundle(small_picture_bundle).manifest.quality
    assert (quality.pictures, quality.loss) == ("held out", {})
    assert set(quality.reduction) == {"vqa", "caption"}
    assert all(loss.mean_kl > 1e-4 for loss in quality.reduction.values())


def test_merged_tokens_are_in_the_manifest_and_the_gate_tells_both_losses(merging_bundle: Path) -> None:
    """8 x 8 + 1 - 3 x 5 = 50 states; INT8 against FP32 that merges, and against FP32 that does not."""
    bundle = open_bundle(merging_bundle)
    image, quality = bundle.manifest.image, bundle.manifest.quality
    assert (image.merge_tokens, image.merged_positions, image.positions, image.checkpoint_px) == (5, 15, 50, None)
    assert set(quality.loss) == set(quality.reduction) == {"vqa", "caption"}
    assert quality.parity["caption"].samples == 2
    assert verify(VisionLanguageModel(bundle)) < 0.01


def test_a_manifest_that_merges_every_patch_is_refused(merging_bundle: Path) -> None:
    """64 of 8 x 8 patches: there would be nothing to look at but the class token."""
    manifest = json.loads((merging_bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["image"]["merged_positions"] = 64
    with pytest.raises(ValidationError, match="merged_positions 64 leaves no patch"):
        Manifest.model_validate_json(json.dumps(manifest))


def test_matching_stays_in_floating_point(merging_bundle: Path) -> None:
    """One product of keys a layer decides who is merged; nothing before it is rounded to 8 bits for its sake."""
    graph = core().read_model(merging_bundle / "vision.xml")
    products = [op for op in graph.get_ops() if op.get_type_name() == "MatMul" and "matching" in op.get_friendly_name()]
    assert len(products) == 3
    for product in products:
        for port in product.inputs():
            node = port.get_source_output().get_node()
            while node.get_type_name() != "MatMul":  # back to the layer's keys
                assert node.get_type_name() != "FakeQuantize"
                node = node.input(0).get_source_output().get_node()
            assert "self_attn.key" in node.get_friendly_name()
    assert any(op.get_type_name() == "FakeQuantize" for op in graph.get_ops())


def test_a_merging_bundle_refuses_regions(merging_bundle: Path, photos: list[Picture]) -> None:
    """No mask over the states would be a part of the frame; the whole frame is answered about."""
    model = VisionLanguageModel(open_bundle(merging_bundle))
    encoding = model.encode(photos[0])
    with pytest.raises(BadRequestError, match="merges image tokens, so it cannot look at a part of the frame"):
        model.answer(encoding, QUESTION, region=(0, 0, 0.5, 0.5))
    assert model.answer(encoding, QUESTION).tokens > 0


def test_the_summary_says_how_many_tokens_there_are_and_what_that_costs(
    small_checkpoint: Callable[[str], Path],
    calibration_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both ways at once: 6 x 6 + 1 - 3 x 4 = 25 states; without pictures the way to have the loss measured."""
    checkpoint, options = str(small_checkpoint("caption")), ["--image-size", "72", "--merge-tokens", "4"]
    fp32 = [*options, "--precision", "fp32", "--parity-pictures", "0"]
    how = "image tokens: 25 (pictures of 72 px where the checkpoint has 96; 4 tokens merged a layer, 12 in all)"
    assert main([checkpoint, str(tmp_path / "a"), *fp32]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:-1] == ["quality: nothing is lost in fp32", how]
    assert "was not measured" in lines[-1] and "--quality DIR" in lines[-1]
    assert main([checkpoint, str(tmp_path / "b"), *fp32, "--quality", str(calibration_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert how in lines
    assert "all that is lost beside fp32 with the checkpoint's own tokens (folder), told only:" in lines
    assert any(line.startswith("  caption: ") and " of 12 texts identical, " in line for line in lines)


def test_sizes_that_the_patches_do_not_fill_are_refused(
    small_checkpoint: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence names the nearest that would do."""
    command = [str(small_checkpoint("caption")), str(tmp_path / "out"), "--precision", "fp32"]
    for size, nearest in (("80", "72 or 84"), ("5", "12 or 24")):
        assert main([*command, "--image-size", size]) == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert f"The image size {size} is no multiple of the checkpoint's patches of 12 pixels" in told
        assert f"give --image-size {nearest}." in told
    assert list(tmp_path.iterdir()) == []


def test_the_checkpoints_own_size_is_no_reduction(small_checkpoint: Callable[[str], Path]) -> None:
    """Asked for by its number it is the checkpoint itself, so that nothing is compared with its equal."""
    checkpoint = load(str(small_checkpoint("caption")))
    assert reduced_checkpoint(checkpoint, Options(precision="fp32", image_px=96)) is checkpoint
    options = options_of(parser().parse_args(["checkpoint", "out"]))
    assert not options.reduces() and reduced_checkpoint(checkpoint, options) is checkpoint
