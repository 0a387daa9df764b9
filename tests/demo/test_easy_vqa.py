"""The public yardstick: the package's own split is kept apart, and the score is what it says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_app.camera.files import load_image
from edge_app.model.bundle import sha256_of
from export.demo import checkpoint, data, easy_pictures, easy_vqa
from export.demo.sight import Answer, Image


def test_splits_are_those_of_the_package() -> None:
    """Sizes as its author gives them; no test picture is trained on, byte for byte."""
    (train_paths, train_asked), (test_paths, test_asked) = (
        easy_pictures.read_split(split) for split in ("train", "test")
    )
    assert (len(train_paths), len(test_paths)) == (4_000, 1_000)
    assert sum(map(len, train_asked.values())) == 38_575
    assert sum(map(len, test_asked.values())) == 9_673
    trained, tested = ({sha256_of(path) for path in paths.values()} for paths in (train_paths, test_paths))
    assert (len(trained), len(tested)) == (4_000, 1_000)
    assert trained.isdisjoint(tested)


def test_command_without_the_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no requirement of the export: its modules load without it, and the command ends with a sentence."""
    monkeypatch.setitem(sys.modules, "easy_vqa", None)
    assert easy_vqa.main([str(tmp_path / "out")]) == 1
    expected = "export.demo.easy_vqa: The package easy-vqa is not installed; run pip install easy-vqa.\n"
    assert capsys.readouterr().err == expected


def test_batches_have_the_trainers_shapes_and_the_pictures_own_answers() -> None:
    """What is asked of a picture and what is to be said stand in the package's list; pictures may be mirrored."""
    paths, asked = easy_pictures.read_split("train")
    words = easy_pictures.words_of(asked)
    tokenizer = checkpoint.build_tokenizer(words)
    raw = next(iter(easy_pictures.EasyBatches(3, seed=1, words=words)))
    batch = data.to_batch(raw)
    assert batch.patches is batch.captions is batch.mentions is None
    pictures = {number: data.resize_rgb(load_image(path)) for number, path in paths.items()}
    for pixels, questions, answers in zip(raw["pixels"], raw["questions"], raw["answers"], strict=True):
        seen = [
            number
            for number, picture in pictures.items()
            if np.array_equal(picture, pixels) or np.array_equal(picture[:, ::-1], pixels)
        ]
        texts = zip(tokenizer.decode_batch(questions.tolist()), tokenizer.decode_batch(answers.tolist()), strict=True)
        assert set(texts) <= {pair for number in seen for pair in asked[number]}


@pytest.mark.parametrize(("says", "yes_right"), [("yes", 1.0), ("no", 0.0)])
def test_score_is_the_share_of_right_answers(
    says: str, yes_right: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who always says the same scores the share of the questions with that answer."""

    class Stubborn:
        def __init__(self, image: Image) -> None:
            assert image.shape == (64, 64, 3)

        def answer(self, question: str) -> Answer:
            assert question.endswith("?")
            return Answer(says)

    def stubborn_eyes(folder: Path) -> Callable[[Image], Stubborn]:
        assert folder == tmp_path
        return Stubborn

    monkeypatch.setattr(easy_pictures, "checkpoint_eyes", stubborn_eyes)
    shares = easy_pictures.score(tmp_path)
    expected = [answer for pairs in easy_pictures.read_split("test")[1].values() for _, answer in pairs]
    assert shares["accuracy"] == pytest.approx(expected.count(says) / len(expected))
    assert (shares["yes"], shares["no"]) == (yes_right, 1 - yes_right)
