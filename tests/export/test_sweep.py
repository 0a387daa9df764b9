"""The same model in several precisions: exported once, compared in one table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_app.model.bundle import open_bundle
from export import sweep
from export.__main__ import main


def test_variants_are_made_once_and_compared_with_fp32(
    small_checkpoint: Callable[[str], Path],
    calibration_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """FP32 first, then what was asked for; a second run exports nothing; further options reach `compare`."""
    command = ["sweep", small_checkpoint("caption"), tmp_path, "--calibration", calibration_folder]
    command += ["--variant", "decoder-fp16", "--runs", "1", "--pictures", calibration_folder, "--limit", "2", "--json"]
    for _ in range(2):
        assert main([str(argument) for argument in command]) == 0
        out, err = capsys.readouterr()
        bundles = json.loads(out.splitlines()[-1])["bundles"]
        assert [Path(bundle["path"]).name for bundle in bundles] == ["fp32", "decoder-fp16"]
    assert f"decoder-fp16: taken from {tmp_path / 'decoder-fp16'}" in err
    roles = open_bundle(tmp_path / "decoder-fp16").manifest.roles
    assert (roles["decoder"].precision, roles["vision"].precision) == ("fp16", "int8")


def test_failing_export_ends_the_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is compared, and the export's sentence is the last word."""
    assert main(["sweep", str(tmp_path / "none"), str(tmp_path / "out"), "--calibration", str(tmp_path)]) == 1
    assert "has no readable picture" in capsys.readouterr().err


def test_every_variant_is_another_one() -> None:
    """No two variants have the same options, and the first is the reference."""
    assert len(set(sweep.VARIANTS.values())) == len(sweep.VARIANTS)
    assert next(iter(sweep.VARIANTS)) == "fp32"
