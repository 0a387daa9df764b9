"""The same model in several precisions: exported once, compared in one table, and never with another model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_app.errors import BundleError
from edge_app.model.bundle import open_bundle
from export import sweep
from export.__main__ import main
from export.errors import ExportError
from export.options import Options
from export.sweep_reuse import is_there
from tests.photos import photo_paths

ROOT = Path(__file__).parents[2]
FP32 = Options(precision="fp32")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_variants_are_made_once_and_compared_with_fp32(
    small_checkpoint: Callable[[str], Path],
    calibration_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """FP32 first, then what was asked for, each called by the precisions of its graphs; a second run exports nothing;
    the options of a comparison are there."""
    command = ["sweep", small_checkpoint("caption"), tmp_path, "--calibration", calibration_folder]
    command += ["--variant", "decoder-fp16", "--runs", "1", "--pictures", calibration_folder, "--limit", "2", "--json"]
    for _ in range(2):
        assert main([str(argument) for argument in command]) == 0
        out, err = capsys.readouterr()
        bundles = json.loads(out.splitlines()[-1])["bundles"]
        assert [Path(bundle["path"]).name for bundle in bundles] == ["fp32", "decoder-fp16"]
        assert [bundle["precision"] for bundle in bundles] == ["fp32", "int8, decoder fp16"]
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
    assert next(iter(sweep.VARIANTS)) == sweep.REFERENCE


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The exports that a sweep would have run; each of them fails."""
    commands: list[list[str]] = []

    def noted(command: list[str]) -> int:
        commands.append(command)
        return 1

    monkeypatch.setattr(sweep, "export", noted)
    return commands


def test_what_the_comparison_would_refuse_is_refused_before_the_exports(
    tmp_path: Path, calibration_folder: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures that are none, a drawing that cannot be written, a folder that is in use: exit code 1, one sentence."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "drawing.png").mkdir()
    (tmp_path / "out" / "text-int8").mkdir(parents=True)
    (tmp_path / "out" / "text-int8" / "notes.txt").write_text("mine", encoding="utf-8")
    cases: list[tuple[list[object], str]] = [
        (["--pictures", tmp_path / "nowhere"], "picture folder"),
        (["--pictures", tmp_path / "empty"], "has no readable picture"),
        (["--picture", tmp_path / "figure.jpg"], "does not end in .png"),
        (["--picture", tmp_path / "drawing.png"], "is a folder"),
        ([], "text-int8 has other things in it than a bundle"),
    ]
    for options, words in cases:
        command = ["sweep", "checkpoint", tmp_path / "out", "--calibration", calibration_folder, *options]
        assert main([str(argument) for argument in command]) == 1
        told = capsys.readouterr().err
        assert words in told
        assert told.startswith("sweep: ")
    assert exported == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--variant", "fp32"], "--variant fp32 alone leaves nothing to compare with it; name another one"),
        (["--runs", "0"], "argument --runs: 0 is out of range"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_usage_errors_come_before_the_exports(
    options: list[str], words: str, tmp_path: Path, exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, whether the option is the sweep's own or the comparison's."""
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", "checkpoint", str(tmp_path), "--calibration", str(tmp_path), *options])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert exported == []


@pytest.fixture
def left(small_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """An FP32 bundle as an earlier sweep would have left it."""
    return Path(shutil.copytree(small_bundle("caption", "fp32"), tmp_path / "fp32"))


def rewrite(bundle: Path, **changes: Any) -> None:
    path = bundle / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_bundle_of_the_same_sweep_is_taken(left: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """The same checkpoint, precisions and limit; where there is no bundle, or an empty folder, one is to be made."""
    checkpoint = str(small_checkpoint("caption"))
    assert is_there(left, checkpoint, FP32)
    assert not is_there(left.with_name("fp16"), checkpoint, FP32)
    left.with_name("fp16").mkdir()
    assert not is_there(left.with_name("fp16"), checkpoint, FP32)


def test_bundle_of_another_checkpoint_is_refused(
    left: Path, small_checkpoint: Callable[[str], Path], exported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name, before anything is exported; the sentence names the folder and what to do."""
    other, same = small_checkpoint("vqa"), small_checkpoint("caption").name
    command = ["sweep", str(other), str(left.parent), "--calibration", str(photo_paths()[0].parent)]
    assert main(command) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert f"{left} holds another bundle than this sweep would make (it is of the checkpoint {same}, not" in told
    assert "remove that folder to have the bundle made anew, or give another OUT" in told
    assert exported == []


def test_bundle_of_other_options_is_refused(left: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """Each graph that has another precision is named, and so is another limit of the texts."""
    checkpoint = str(small_checkpoint("caption"))
    for options, words in (
        (Options(precision="fp32", stages={"decoder": "int4"}), r"\(its decoder is fp32, not int4\)"),
        (Options(precision="fp16", stages={"decoder": "fp32"}), "its vision is fp32, not fp16; its caption_memory is"),
        (Options(precision="fp32", max_new_tokens=40), "its texts have up to 20 new tokens, not 40"),
    ):
        with pytest.raises(ExportError, match=words):
            is_there(left, checkpoint, options)


def test_bundle_of_other_weights_is_refused(left: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """Of another revision; or the folder has the same name, but was trained on after the bundle was made."""
    checkpoint = shutil.copytree(small_checkpoint("caption"), left.parent / small_checkpoint("caption").name)
    made_s = time.time() + 3600
    os.utime(checkpoint / "model.safetensors", (made_s, made_s))
    with pytest.raises(ExportError, match=r"it was made on .*, and the weights of .* were written since"):
        is_there(left, str(checkpoint), FP32)
    source = open_bundle(left).manifest.source
    rewrite(left, source=source.model_copy(update={"revision": COMMIT}).model_dump())
    with pytest.raises(ExportError, match=f"it is of the revision {COMMIT}, not of a folder"):
        is_there(left, str(small_checkpoint("caption")), FP32)


def test_bundle_that_cannot_be_read_is_refused(left: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """Nobody can say what it is."""
    rewrite(left, roles="none")
    with pytest.raises(BundleError, match=re.escape(f"{left / 'manifest.json'} is not a manifest")):
        is_there(left, str(small_checkpoint("caption")), FP32)


def test_revision_of_a_hub_checkpoint_is_the_commit_it_stands_for(tmp_path: Path) -> None:
    """As the hub's cache has it when nobody can be asked; what was never there is a sentence."""
    cached = tmp_path / "hub" / "models--some--blip"
    (cached / "snapshots" / COMMIT).mkdir(parents=True)
    (cached / "snapshots" / COMMIT / "config.json").write_text("{}", encoding="utf-8")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    for checkpoint, code, told in (
        ("some/blip", 0, f"('some/blip', '{COMMIT}')"),
        ("some/other", 1, "export.errors.ExportError: The checkpoint some/other was found neither as a folder nor"),
        ("no/hub/id", 1, "export.errors.ExportError: The checkpoint no/hub/id was found neither as a folder nor"),
    ):
        script = f"from export.revision import source_of; print(source_of({checkpoint!r}))"
        environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == code, run.stderr
        assert (run.stdout + run.stderr).splitlines()[-1].startswith(told)
