"""The export writes a bundle whole or not at all, and says in a sentence why not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from edge_app.model.bundle import open_bundle
from export.__main__ import main

ROOT = Path(__file__).parents[2]


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_says_what_it_is(small_bundle: Callable[..., Path], small_checkpoint: Callable[[str], Path]) -> None:
    """Sizes come from the checkpoint's config, not from a model's name: every number here differs from BLIP-base's."""
    manifest = open_bundle(small_bundle("vqa", "int8")).manifest
    assert manifest.tasks == ("vqa", "caption")
    assert (manifest.image.height_px, manifest.image.positions) == (96, 65)
    assert (manifest.text.layers, manifest.text.heads, manifest.text.head_size) == (2, 5, 16)
    assert manifest.tokens.model_dump() == {
        "start": 30522, "end": 102, "pad": 0, "question_start": 101, "yes": 2748, "no": 2053,
    }  # fmt: skip
    assert manifest.source.model_class == "BlipForQuestionAnswering"
    assert manifest.source.checkpoint == small_checkpoint("vqa").name
    assert manifest.golden is not None and set(manifest.golden.texts) == {"vqa", "caption"}
    assert manifest.quality["vqa_samples"] == 2
    assert {"torch", "transformers", "openvino", "nncf"} <= set(manifest.tools)


def test_int8_is_small_and_near(small_bundle: Callable[..., Path]) -> None:
    """INT8 weights take about a quarter of FP32's, FP16's half; FP32 agrees with transformers to the token."""
    sizes = {}
    for precision in ("fp32", "fp16", "int8"):
        manifest = open_bundle(small_bundle("vqa", precision)).manifest
        assert all(files.precision == precision for files in manifest.roles.values())
        sizes[precision] = sum(files.bin.size_bytes for files in manifest.roles.values())
    assert sizes["fp16"] < 0.52 * sizes["fp32"]
    assert sizes["int8"] < 0.29 * sizes["fp32"]
    assert open_bundle(small_bundle("vqa", "fp32")).manifest.quality["vqa_identical"] == 2


def test_the_tokenizer_stands_alone(small_bundle: Callable[..., Path], small_checkpoint: Callable[[str], Path]) -> None:
    """tokenizer.json gives transformers' ids with the `tokenizers` package only."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(small_checkpoint("vqa"))
    ours = Tokenizer.from_file(str(small_bundle("vqa") / "tokenizer.json"))
    for text in ("Is there a DOG?", "naïve café", "3 people, 2 cars", "日本語", "", "x" * 300, "don't"):
        assert ours.encode(text).ids == theirs(text)["input_ids"]


def test_what_is_wrong_is_said_and_nothing_is_written(
    tmp_path: Path, small_checkpoint: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each wrong input: exit code 1, one sentence with the value and the mend, and no file or folder left."""
    from transformers import BertConfig

    good, empty, other = str(small_checkpoint("vqa")), tmp_path / "empty", tmp_path / "bert"
    empty.mkdir()
    BertConfig(architectures=["BertForMaskedLM"]).save_pretrained(other)
    broken = tmp_path / "broken"
    shutil.copytree(good, broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    partial = tmp_path / "partial"
    shutil.copytree(small_checkpoint("caption"), partial)
    config = json.loads((partial / "config.json").read_text(encoding="utf-8"))
    config["architectures"] = ["BlipForQuestionAnswering"]  # whose text encoder is not in the file
    (partial / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "notes.txt").write_text("keep me", encoding="utf-8")
    target = tmp_path / "out"
    cases = [
        ([str(tmp_path / "nowhere"), target], "does not exist"),
        ([str(empty), target], "has no config.json"),
        ([str(other), target], "holds BertForMaskedLM; this export takes"),
        ([str(broken), target, "--precision", "fp32"], "cannot be loaded as BlipForQuestionAnswering"),
        ([str(partial), target, "--precision", "fp32"], "weights of BlipForQuestionAnswering, text_encoder."),
        ([good, target], "INT8 needs pictures"),
        ([good, target, "--calibration", str(tmp_path / "nowhere")], "calibration folder"),
        ([good, target, "--calibration", str(empty)], "has no readable picture"),
        ([good, tmp_path / "notes.txt", "--precision", "fp32"], "is a file"),
        ([good, tmp_path, "--precision", "fp32"], "has other things in it"),
        ([str(small_checkpoint("caption")), target, "--precision", "fp32", "--task", "vqa"], "serves caption, not vqa"),
    ]
    before = left_behind(tmp_path)
    for arguments, message in cases:
        assert main([str(argument) for argument in arguments]) == 1, arguments
        last_line = capsys.readouterr().err.splitlines()[-1]  # after the progress bars
        assert last_line.startswith("export: ")
        assert message in last_line
        assert left_behind(tmp_path) == before
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "keep me"


def test_a_full_disk_leaves_nothing(tmp_path: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """On a real file system of 3 MB the export says how much is free and how much is needed, and cleans up."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=3m tmpfs {disk} && "
        f"{sys.executable} -m export {small_checkpoint('vqa')} {disk}/out --precision fp32; "
        f"echo exit=$?; ls -A {disk}"
    )
    # A mount namespace of its own: the mount ends with the command.
    run = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "MB free, the bundle needs about" in run.stderr, run.stderr
    assert run.stdout == "exit=1\n"


def test_an_export_killed_half_way_leaves_the_old_bundle(
    tmp_path: Path, small_bundle: Callable[..., Path], small_checkpoint: Callable[[str], Path]
) -> None:
    """kill -9 while a new export replaces a bundle: what is at OUT is still the old bundle, whole."""
    out = Path(shutil.copytree(small_bundle("vqa"), tmp_path / "bundle"))
    old = open_bundle(out).hash
    command = [sys.executable, "-m", "export", str(small_checkpoint("vqa")), str(out), "--precision", "fp32", "--force"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline_s = time.monotonic() + 120
    while not list(tmp_path.glob(".bundle-*/*.bin")):
        assert time.monotonic() < deadline_s and process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert open_bundle(out).hash == old
    assert main([*command[3:-1]]) == 1  # without --force it is not touched either
    assert open_bundle(out).hash == old


def test_force_replaces_a_bundle_in_one_step(
    tmp_path: Path, small_bundle: Callable[..., Path], small_checkpoint: Callable[[str], Path]
) -> None:
    """With --force the new bundle takes the old one's place, and only it is there; a name is made fit for logs."""
    out = Path(shutil.copytree(small_bundle("caption"), tmp_path / "my bundle, new"))
    assert main([str(small_checkpoint("vqa")), str(out), "--precision", "fp32", "--task", "vqa", "--force"]) == 0
    assert open_bundle(out).manifest.tasks == ("vqa",)
    assert left_behind(tmp_path) == ["my bundle, new"]
    assert open_bundle(out).manifest.name == "my-bundle--new"
