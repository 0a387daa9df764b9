"""The export writes a bundle whole or not at all, and says in a sentence why not."""

from __future__ import annotations

import errno
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
from export.bundle import building
from export.errors import ExportError
from export.exchange import exchange
from tests.photos import photo_paths

ROOT = Path(__file__).parents[2]


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_says_what_it_is(small_bundle: Callable[..., Path], small_checkpoint: Callable[[str], Path]) -> None:
    """Sizes come from the checkpoint's config, not from a model's name: every number here differs from BLIP-base's."""
    manifest = open_bundle(small_bundle("vqa", "int8")).manifest
    assert manifest.tasks == ("vqa", "caption")
    assert manifest.version == int("".join(filter(str.isdigit, manifest.created)))  # later exports have higher ones
    assert (manifest.image.height_px, manifest.image.positions) == (96, 65)
    assert (manifest.text.layers, manifest.text.heads, manifest.text.head_size) == (2, 5, 16)
    assert manifest.tokens.model_dump() == {
        "start": 30522, "end": 102, "pad": 0, "question_start": 101, "yes": 2748, "no": 2053,
    }  # fmt: skip
    assert manifest.source.model_class == "BlipForQuestionAnswering"
    assert manifest.source.checkpoint == small_checkpoint("vqa").name
    assert manifest.golden is not None and set(manifest.golden.texts) == {"vqa", "caption"}
    assert manifest.quality.parity["vqa"].samples == 2
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
    assert open_bundle(small_bundle("vqa", "fp32")).manifest.quality.parity["vqa"].identical == 2


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
    wordless = tmp_path / "wordless"
    shutil.copytree(good, wordless, ignore=shutil.ignore_patterns("tokenizer*", "vocab*", "special_tokens*"))
    garbled = tmp_path / "garbled"
    garbled.mkdir()
    (garbled / "config.json").write_text("{", encoding="utf-8")
    latin, wordy = tmp_path / "latin", tmp_path / "wordy"
    for folder, questions in ((latin, "où est le chien ?".encode("latin-1")), (wordy, b"is it " + b"very " * 60)):
        folder.mkdir()
        (folder / "photo.png").symlink_to(photo_paths()[0])
        (folder / "questions.txt").write_bytes(questions)
    target = tmp_path / "out"
    cases = [
        ([str(tmp_path / "nowhere"), target, "--precision", "fp32"], "does not exist"),
        ([str(empty), target, "--precision", "fp32"], "has no config.json"),
        ([str(other), target, "--precision", "fp32"], "holds BertForMaskedLM; this export takes"),
        ([str(broken), target, "--precision", "fp32"], "cannot be loaded as BlipForQuestionAnswering"),
        ([str(partial), target, "--precision", "fp32"], "weights of BlipForQuestionAnswering, text_encoder."),
        ([str(wordless), target, "--precision", "fp32"], "has no tokenizer (5 tokens, the model knows 30524)"),
        ([str(garbled), target, "--precision", "fp32"], "config.json cannot be read"),
        ([str(broken), target], "INT8 needs pictures"),  # said before the weights are read
        ([str(broken), tmp_path, "--precision", "fp32"], "has other things in it"),  # and so is this
        ([good, target, "--calibration", str(latin)], "save the file as UTF-8"),
        ([good, target, "--calibration", str(wordy)], "calibration question 'is it very very"),
        ([good, target, "--precision", "fp32", "--caption-prompt", "very " * 60], "The caption prompt has"),
        ([good, target, "--precision", "fp32", "--question-start", "30524"], "the checkpoint knows 0 to 30523"),
        ([good, target, "--calibration", str(tmp_path / "nowhere")], "calibration folder"),
        ([good, target, "--calibration", str(empty)], "has no readable picture"),
        ([good, tmp_path / "notes.txt", "--precision", "fp32"], "is a file"),
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


@pytest.mark.parametrize(
    "argument", ["--beams=0", "--beams=17", "--max-new-tokens=5000", "--parity-pictures=-1", "--calibration-limit=0"]
)
def test_a_number_out_of_range_is_a_usage_error(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A number the manifest could not hold ends with the usage and exit code 2 before anything is loaded."""
    with pytest.raises(SystemExit) as stopped:
        main(["nowhere", "out", argument])
    assert stopped.value.code == 2
    assert "is out of range; give" in capsys.readouterr().err


def private_mount() -> list[str]:
    """A command prefix that may mount: what it mounts ends with it."""
    ways = [["unshare", "--mount"]] if os.geteuid() == 0 else []
    ways.append(["unshare", "--map-root-user", "--mount"])
    for way in ways:
        probe = subprocess.run([*way, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
        if probe.returncode == 0:
            return way
    pytest.skip(f"this user may mount no file system: {probe.stderr.decode().strip()}")


FULL_DISK = """
import subprocess, sys
from pathlib import Path
from export import pipeline
from export.__main__ import main

checkpoint, disk = sys.argv[1:]
command = [checkpoint, f"{disk}/out", "--precision", "fp32"]
for size, checked in (("3m", True), ("6m", False), ("200k", False)):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
    if not checked:
        pipeline.check_space = lambda folder, needed_bytes: None
    print(main(command), [path.name for path in Path(disk).iterdir()])
"""


def test_a_full_disk_leaves_nothing(tmp_path: Path, small_checkpoint: Callable[[str], Path]) -> None:
    """A disk of 3 MB is refused beforehand; one that fills up during the export is said, and nothing stays on it."""
    command = [*private_mount(), sys.executable, "-c", FULL_DISK, str(small_checkpoint("vqa")), str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    said = [line for line in run.stderr.splitlines() if line.startswith("export: ")]
    assert run.stdout == "1 []\n" * 3, run.stderr
    assert "MB free, the bundle needs about" in said[0]
    assert "OpenVINO could not write " in said[1]
    assert "tokenizer.json cannot be written (No space left on device" in said[2]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_whatever_stops_the_writing_is_a_sentence(tmp_path: Path, number: int) -> None:
    """Every error of the file system becomes an ExportError with the system's words, and the work folder goes."""
    reason = os.strerror(number)
    with pytest.raises(ExportError, match=reason), building(tmp_path / "out", force=False) as work:
        (work / "vision.bin").write_bytes(b"half")
        raise OSError(number, reason)
    assert left_behind(tmp_path) == []


def test_two_folders_change_places(tmp_path: Path) -> None:
    """After an exchange each path has what the other had; a path that is not there is an error, not a refusal."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"was-{name}").touch()
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert left_behind(tmp_path / "a") == ["was-b"]
    assert left_behind(tmp_path / "b") == ["was-a"]
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "nowhere")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_the_new_bundle_takes_the_place_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    """Where the file system knows no exchange two renames do it; either way only the new bundle is left."""
    if not can_exchange:
        monkeypatch.setattr("export.exchange.exchange", lambda *_: False)
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("old", encoding="utf-8")
    with building(out, force=True) as work:
        (work / "manifest.json").write_text("new", encoding="utf-8")
        assert (out / "manifest.json").read_text(encoding="utf-8") == "old"
    assert (out / "manifest.json").read_text(encoding="utf-8") == "new"
    assert left_behind(tmp_path) == ["out"]


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
    options = ["--precision", "fp32", "--task", "vqa", "--bundle-version", "7", "--force"]
    assert main([str(small_checkpoint("vqa")), str(out), *options]) == 0
    manifest = open_bundle(out).manifest
    assert (manifest.tasks, manifest.version) == (("vqa",), 7)
    assert left_behind(tmp_path) == ["my bundle, new"]
    assert open_bundle(out).manifest.name == "my-bundle--new"
