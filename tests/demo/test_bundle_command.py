"""From a trained checkpoint to the bundle that is shipped, in one command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edge_app.model.bundle import open_bundle
from export.demo import bundle, resume, scenes
from export.demo.checkpoint import DEMO_WORDS, build_model
from export.demo.losses import Losses

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What training would leave after no step at all."""
    torch.manual_seed(0)
    out = tmp_path_factory.mktemp("untrained") / "checkpoint"
    resume.save(Losses(build_model()), out, DEMO_WORDS, steps=0)
    return out


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and small scenes, so that an export takes seconds."""
    monkeypatch.setattr(bundle, "CALIBRATION_SCENES", 4)
    monkeypatch.setattr(bundle, "QUALITY_SCENES", 3)
    monkeypatch.setattr(scenes, "PICTURE_PX", 64)


def test_bundle_is_calibrated_judged_and_replaced(few: None, checkpoint: Path, tmp_path: Path) -> None:
    """INT8 of both tasks, judged on scenes of its own; options after OUT reach the export; a second run replaces it."""
    out = tmp_path / "bundle"
    options = ["--accept-quality", "--no-layer-search", "--parity-pictures", "1", "--max-new-tokens", "4"]
    assert bundle.main([str(checkpoint), str(out), *options]) == 0
    manifest = open_bundle(out).manifest
    assert (manifest.name, manifest.precision, set(manifest.tasks)) == ("edge-app-demo", "int8", {"caption", "vqa"})
    assert manifest.quality.pictures == "folder"
    assert manifest.quality.loss["caption"].texts == 3
    assert {task: parity.samples for task, parity in manifest.quality.parity.items()} == {"caption": 1, "vqa": 1}
    assert bundle.main([str(checkpoint), str(out), "--precision", "fp32", "--task", "caption", "--name", "other"]) == 0
    manifest = open_bundle(out).manifest
    assert (manifest.name, manifest.precision, manifest.tasks) == ("other", "fp32", ("caption",))


def test_help_says_what_becomes_of_out_and_of_further_options(capsys: pytest.CaptureFixture[str]) -> None:
    """The two things that a person would not expect; an option before CHECKPOINT is refused, not taken for it."""
    with pytest.raises(SystemExit):
        bundle.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "A bundle that is at OUT is replaced." in text
    assert "Options after OUT go to the export" in text
    with pytest.raises(SystemExit) as stopped:
        bundle.main(["--precision", "fp16", "checkpoint", "out"])
    assert stopped.value.code == 2


def test_wrong_checkpoint_is_the_exports_own_sentence(
    few: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its exit code, and no bundle."""
    assert bundle.main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 1
    assert "export: The checkpoint folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_folder_named_like_a_command_is_a_checkpoint(
    few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`compare` is what the export takes for one of its further commands; here only a checkpoint can stand."""
    (tmp_path / "compare").mkdir()
    monkeypatch.chdir(tmp_path)
    assert bundle.main(["compare", "out"]) == 1
    assert "export: compare is no checkpoint: it has no config.json" in capsys.readouterr().err


def test_full_disk_under_the_scenes_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is exported."""
    monkeypatch.setattr("cv2.imwrite", lambda *_: False)
    assert bundle.main(["checkpoint", str(tmp_path / "out")]) == 1
    assert "export.demo.bundle: The scenes cannot be written to" in capsys.readouterr().err
