"""The export's command line: what it accepts, and what it says of the bundle it made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.manifest import StagePrecision
from export.__main__ import main
from export.command_line import options_of, parser
from export.pipeline import Report
from export.summary import quality_lines, summary

REQUIRED = ["checkpoint", "out"]


@pytest.mark.parametrize(
    ("name", "accepted", "refused", "limits"),
    [
        ("max-kl", ["1e-9", "1", "2"], ["0", "-1", "inf", "nan"], "give a finite number above 0"),
        ("max-picture-loss", ["0.001", "1"], ["0", "-0.1", "1.01", "inf", "nan"], "give more than 0, up to 1"),
        ("min-sure-agreement", ["0", "0.5", "1"], ["-0.1", "1.01", "nan"], "give 0 to 1"),
        ("min-identical", ["0", "0.5", "1"], ["-0.1", "1.01", "nan"], "give 0 to 1"),
        ("max-lost-answers", ["0", "0.5", "1"], ["-0.1", "1.01", "nan"], "give 0 to 1"),
    ],
)
def test_thresholds_have_the_range_that_the_manifest_has(
    name: str, accepted: list[str], refused: list[str], limits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """KL in nats has no upper bound, a share has; what the manifest could not hold is a usage error with the range."""
    for text in accepted:
        options = options_of(parser().parse_args([*REQUIRED, f"--{name}", text]))
        assert getattr(options.thresholds, name.replace("-", "_")) == float(text)
    for text in refused:
        with pytest.raises(SystemExit) as stopped:
            main([*REQUIRED, f"--{name}={text}"])
        assert stopped.value.code == 2
        assert f"argument --{name}: {float(text):g} is out of range; {limits}" in capsys.readouterr().err


def with_decoder(bundle: Bundle, precision: StagePrecision) -> Bundle:
    """The bundle as if its decoder had another precision."""
    decoder = bundle.manifest.roles["decoder"].model_copy(update={"precision": precision})
    roles = {**bundle.manifest.roles, "decoder": decoder}
    return Bundle(bundle.path, bundle.manifest.model_copy(update={"roles": roles}), bundle.hash)


def test_only_fp32_graphs_lose_nothing(small_bundle: Callable[..., Path]) -> None:
    """The precision of the bundle is that of most graphs; one of another precision may lose something."""
    fp32, int8 = open_bundle(small_bundle("vqa", "fp32")), open_bundle(small_bundle("vqa", "int8"))
    assert quality_lines(fp32.manifest) == ["quality: nothing is lost in fp32"]
    (told,) = quality_lines(with_decoder(fp32, "int4").manifest)
    assert told.startswith("quality: not measured, as there were no pictures: what fp32, decoder int4 loses is unknown")
    assert quality_lines(int8.manifest)[0] == "quality of int8 beside fp32 (held out):"
    assert quality_lines(with_decoder(int8, "int4").manifest)[0].startswith("quality of int8, decoder int4 beside fp32")


def test_texts_that_were_cut_off_are_told(small_bundle: Callable[..., Path]) -> None:
    """A limit that is too low cuts FP32 and INT8 alike, so no other figure shows it."""
    manifest = open_bundle(small_bundle("vqa", "int8")).manifest
    for cut, told in ((0, False), (2, True)):
        loss = manifest.quality.loss["caption"].model_copy(update={"unfinished": cut})
        quality = manifest.quality.model_copy(update={"loss": {"caption": loss}})
        lines = quality_lines(manifest.model_copy(update={"quality": quality}))
        assert any("2 texts of fp32 were cut off by --max-new-tokens" in line for line in lines) == told


def test_unmeasured_bundle_is_told_with_the_way_to_measure_it(
    small_checkpoint: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without pictures there is neither parity nor quality; the second matters, since INT4 weights lose something."""
    options = ["--precision", "fp32", "--stage", "decoder=int4", "--accept-quality"]
    assert main([str(small_checkpoint("caption")), str(tmp_path / "out"), *options]) == 0
    *lines, parity, quality = capsys.readouterr().out.splitlines()
    assert f"bundle {tmp_path / 'out'} (caption; fp32, decoder int4)" in lines
    assert parity == "parity: not measured (no --calibration folder to take pictures from)"
    assert "not measured" in quality and "Export again with --quality DIR (or --calibration DIR) and --force" in quality


@pytest.mark.parametrize(
    ("pictures", "reason"), [("0", "--parity-pictures 0"), ("8", "no --calibration folder to take pictures from")]
)
def test_missing_parity_is_told_with_its_reason(pictures: str, reason: str, small_bundle: Callable[..., Path]) -> None:
    """Pictures that nobody wanted compared are no missing folder."""
    options = options_of(parser().parse_args([*REQUIRED, "--parity-pictures", pictures]))
    assert f"parity: not measured ({reason})" in summary(Report(open_bundle(small_bundle("vqa"))), options).splitlines()
