"""Folders of drawn scenes: true to their pictures, free of what training withholds, and whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge_app.camera.files import load_image
from edge_app.demo import language, world
from export.calibration import read_folder
from export.demo import scenes, seeds
from export.examples import from_folder
from tests.demo.scenes import twins_of


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are quickly drawn."""
    monkeypatch.setattr(scenes, "PICTURE_PX", 32)


def read(path: Path) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return entries


def test_export_takes_the_folder_as_it_is(tmp_path: Path) -> None:
    """Pictures to calibrate with, each with a question of its own; captions and right answers to judge by."""
    out = tmp_path / "new" / "folder"
    assert scenes.main([str(out), "--count", "3", "--seed", "5"]) == 0
    calibration, quality = read_folder(out, limit=64), from_folder(out, limit=64)
    assert [path.name for path in calibration.paths] == ["scene-0000.png", "scene-0001.png", "scene-0002.png"]
    assert all(load_image(path).shape == (scenes.PICTURE_PX, scenes.PICTURE_PX, 3) for path in calibration.paths)
    assert len(calibration.questions) == len(quality) == 3
    for example, question in zip(quality.items, calibration.questions, strict=True):
        assert question in {asked.question for asked in example.questions}
        assert len(example.questions) > 3
        assert all(len(asked.answers) == 1 for asked in example.questions)
        (caption,) = example.captions
        assert 1 <= len(language.named_objects(caption)) <= world.MOST_OBJECTS


def test_scenes_never_show_what_training_withholds(small: None, tmp_path: Path) -> None:
    """A bundle is calibrated and judged on the world of its training: no withheld pair, no withheld twins."""
    scenes.draw_scenes(tmp_path / "out", count=400, seed=2)
    twins = 0
    for captions in read(tmp_path / "out" / "captions.json").values():
        pairs = language.named_objects(captions[0])
        assert set(pairs) <= set(world.TRAINING_PAIRS)
        assert not set(twins_of(pairs)) & set(world.WITHHELD_TWINS)
        twins += bool(twins_of(pairs))
    assert twins > 20


def test_scenes_repeat_with_the_seed(small: None, tmp_path: Path) -> None:
    """Every file to the last byte; another seed is another folder."""
    for name, seed in (("one", 3), ("same", 3), ("other", 4)):
        scenes.draw_scenes(tmp_path / name, count=4, seed=seed)
    one, same, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "same", "other")
    )
    assert one == same
    assert len(one) == 7
    assert all(one[name] != other[name] for name in one)


def test_seed_must_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With one by default, the folder to calibrate with and the one to judge by would begin with the same scenes."""
    with pytest.raises(SystemExit) as stopped:
        scenes.main([str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert "the following arguments are required: --seed" in capsys.readouterr().err


def test_every_purpose_has_seeds_of_its_own() -> None:
    """Training, calibration, quality, comparison, and what a person asks for; evaluation takes all from its first."""
    single = [seeds.CALIBRATION_SEED, seeds.QUALITY_SEED, seeds.COMPARISON_SEED]
    taken = [*seeds.TRAINING_SEEDS, *single, *seeds.FREE_SEEDS]
    assert len(set(taken)) == len(taken)
    assert max(taken) < seeds.FIRST_EVALUATION_SEED


def test_only_a_new_or_empty_folder_is_written(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there stays as it is: a file, or a folder with something in it; exit code 1 and a sentence."""
    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    empty.mkdir()
    for path in (full / "mine.txt", file):
        path.write_text("mine", encoding="utf-8")
    for path, sentence in ((full, "has something in it already; choose a new folder"), (file, "is a file; choose")):
        assert scenes.main([str(path), "--seed", "1", "--count", "1"]) == 1
        assert f"export.demo.scenes: {path} {sentence}" in capsys.readouterr().err
    assert [path.name for path in full.iterdir()] == ["mine.txt"]
    assert file.read_text(encoding="utf-8") == "mine"
    assert scenes.main([str(empty), "--seed", "1", "--count", "1"]) == 0
    assert len(list(empty.iterdir())) == 4


def test_place_that_cannot_be_written_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below a file there are no folders."""
    (tmp_path / "file").touch()
    assert scenes.main([str(tmp_path / "file" / "out"), "--seed", "1", "--count", "1"]) == 1
    assert "The scenes cannot be written to" in capsys.readouterr().err


@pytest.mark.parametrize("ends", [KeyboardInterrupt, OSError])
def test_interrupted_drawing_leaves_nothing(
    ends: type[BaseException], small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither half a folder of scenes nor another one beside it, after Ctrl-C and on a full disk."""
    written = cv2.imwrite

    def failing(path: str, picture: Any) -> bool:
        if path.endswith("scene-0002.png"):
            raise ends
        return bool(written(path, picture))

    monkeypatch.setattr(cv2, "imwrite", failing)
    try:
        assert scenes.main([str(tmp_path / "out"), "--seed", "1", "--count", "4"]) == 1
    except KeyboardInterrupt:
        assert ends is KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
