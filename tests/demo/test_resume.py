"""Training that goes on: from its own weights, with scenes that it has not had, or with a sentence why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.demo import data, resume, train, training
from export.demo.checkpoint import CHECKPOINT_NAMES, DEMO_WORDS, build_model, write_checkpoint
from export.demo.losses import Losses
from export.errors import ExportError


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training of seven steps leaves."""
    out = tmp_path_factory.mktemp("resume") / "start"
    resume.save(losses(1), out, DEMO_WORDS, steps=7)
    return out


def losses(seed: int) -> Losses:
    torch.manual_seed(seed)
    return Losses(build_model())


def rewritten(start: Path, out: Path, change: Callable[[dict[str, torch.Tensor]], object], steps: str = "7") -> Path:
    """The training weights of `start` with a change, in a folder of their own."""
    weights = load_file(start / resume.TRAINING_NAME)
    change(weights)
    out.mkdir()
    save_file(weights, out / resume.TRAINING_NAME, {resume.STEPS_KEY: steps})
    return out


def test_weights_and_steps_come_back(start: Path) -> None:
    """Every weight to the last bit, those of the heads among them."""
    other = losses(2)
    resume.load(other, start)
    assert resume.read_start(start) == resume.Start(start, 7)
    for name, weight in losses(1).state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


@pytest.mark.parametrize("name", ["patches.weight", "model.vision_model.post_layernorm.bias"])
def test_weights_must_be_there_one_and_all(name: str, start: Path, tmp_path: Path) -> None:
    """Nothing that is missing stays at random, nothing that is too much is passed over."""
    less = rewritten(start, tmp_path / "less", lambda weights: weights.pop(name))
    more = rewritten(start, tmp_path / "more", lambda weights: weights.update({"further": weights[name].clone()}))
    for folder in (less, more):
        with pytest.raises(ExportError, match=r"the weights in .* are not those of this model"):
            resume.load(losses(2), folder)


def test_weights_for_other_words_are_refused(start: Path) -> None:
    """Another vocabulary, other shapes."""
    with pytest.raises(ExportError, match="are not those of this model"):
        resume.load(Losses(build_model(("yes", "no"))), start)


@pytest.mark.parametrize("fails", [OSError("disk full"), KeyboardInterrupt()])
def test_broken_off_saving_leaves_the_former_checkpoint(
    fails: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoint and training weights change together or not at all, up to the last file that is written."""
    out = tmp_path / "out"
    resume.save(losses(1), out, DEMO_WORDS, steps=1)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def failing(*_: object, **__: object) -> None:
        raise fails

    monkeypatch.setattr(resume, "save_model", failing)
    with pytest.raises((ExportError, KeyboardInterrupt), match=r"disk full|^$"):
        resume.save(losses(2), out, DEMO_WORDS, steps=2)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


def test_wrong_start_is_a_sentence(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder, a checkpoint without training weights, a damaged file, other weights, a number of steps that is none:
    exit code 1, and nothing written."""
    public, damaged = tmp_path / "public", tmp_path / "damaged"
    write_checkpoint(build_model(), public)
    damaged.mkdir()
    (damaged / resume.TRAINING_NAME).write_bytes(b"damaged")
    other = rewritten(start, tmp_path / "other", lambda weights: weights.pop("patches.bias"))
    unclear = rewritten(start, tmp_path / "unclear", len, steps="seven")
    for folder, sentence in (
        (tmp_path / "nowhere", "there is no"),
        (public, "there is no"),
        (damaged, "cannot be read"),
        (other, "are not those of this model"),
        (unclear, "says that it took 'seven' steps, which is no whole number"),
    ):
        assert train.main([str(tmp_path / "out"), "--start", str(folder), "--minutes", "1"]) == 1
        line = capsys.readouterr().err.splitlines()[-1]  # transformers may have said something before
        assert line.startswith(f"export.demo.train: Training cannot go on from {folder}: ")
        assert sentence in line
    assert not (tmp_path / "out").exists()


def test_only_what_training_left_is_replaced(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Photos, a checkpoint from elsewhere, a file beside training's own, a file: told before training begins."""
    monkeypatch.setattr(training, "train", lambda *_: None)
    photos, public, noted, file = (tmp_path / name for name in ("photos", "public", "noted", "file"))
    photos.mkdir()
    write_checkpoint(build_model(), public)
    shutil.copytree(start, noted)
    for path in (photos / "me.jpg", noted / "notes.txt", file):
        path.touch()
    before = sorted(tmp_path.rglob("*"))
    for out, sentence in (
        (photos, "no training of the demo wrote it: it has no training.safetensors"),
        (public, "no training of the demo wrote it: it has no training.safetensors"),
        (noted, "training did not write all that is in it (notes.txt)"),
        (file, "is a file"),
        (file / "out", "No checkpoint can be written at"),
    ):
        assert train.main([str(out)]) == 1
        assert sentence in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_what_training_left_may_be_replaced(start: Path, tmp_path: Path) -> None:
    """All that is saved is known by its name; an empty folder and a name that is free will do as well."""
    assert {path.name for path in start.iterdir()} == CHECKPOINT_NAMES | {resume.TRAINING_NAME}
    (tmp_path / "empty").mkdir()
    for out in (start, tmp_path / "empty", tmp_path / "new"):
        resume.check_out(out)


def test_going_on_draws_scenes_that_were_not_there(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same seed: the first run begins as every first run does, one that goes on begins otherwise."""
    firsts: list[data.RawBatch] = []

    def noting(pictures: Iterator[data.RawBatch], *_: object) -> None:
        firsts.append(next(pictures))

    def raw(source: data.RandomBatches) -> Iterator[data.RawBatch]:
        yield from source

    monkeypatch.setattr(data, "batches", raw)
    monkeypatch.setattr(training, "train", noting)
    monkeypatch.setattr(training, "BATCH_SCENES", 2)
    later = rewritten(start, tmp_path / "later", len, steps="8")
    for rest in ([], ["--start", str(start)], ["--start", str(start)], ["--start", str(later)]):
        assert train.main([str(tmp_path / "out"), *rest]) == 0
    fresh, seventh, again, eighth = firsts
    assert np.array_equal(fresh["pixels"], next(iter(data.RandomBatches(2, seed=1)))["pixels"])
    assert np.array_equal(seventh["pixels"], again["pixels"])
    for one, other in ((fresh, seventh), (fresh, eighth), (seventh, eighth)):
        assert not np.array_equal(one["pixels"], other["pixels"])
