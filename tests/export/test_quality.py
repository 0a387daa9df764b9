"""What the export measures of a loss, and the folders it measures on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from edge_app.model.bundle import open_bundle
from edge_app.model.manifest import Quality, Thresholds
from edge_app.model.vlm import VisionLanguageModel
from export.calibration import read_folder
from export.errors import ExportError
from export.examples import Question, from_folder, held_out
from export.quality import Case, kl_divergence, log_softmax, measure, shortfalls, summarise
from export.scores import caption_scores, is_right, words
from tests.photos import photo_paths

CASE = Case(
    picture="door.jpg",
    question=Question(question="is the door open?", answers=("no",)),
    references=(),
    fp32="no",
    chosen="no",
    identical=True,
    unfinished=False,
    same=2,
    tokens=2,
    sure=2,
    sure_same=2,
    kl=(0.01, 0.03),
    blank_kl=(1.0, 3.0),
)


def test_divergence_by_hand() -> None:
    """KL of (3/4, 1/4) from (1/2, 1/2) is 3/4 ln(3/2) + 1/4 ln(1/2) = 0.1308 nats; of anything from itself 0."""
    expected = log_softmax(np.log(np.array([[3, 1], [1, 1]], np.float32)))
    actual = log_softmax(np.array([[7, 7], [2, 2]], np.float32))
    assert kl_divergence(expected, actual) == pytest.approx([0.130812, 0.0], abs=1e-6)


def test_a_summary_by_hand() -> None:
    """Shares are of all tokens, not means of shares: 2 of 2 and 1 of 4 tokens are 3 of 6."""
    other = replace(
        CASE, picture="hall.jpg", chosen="yes", identical=False, same=1, tokens=4, sure=1, sure_same=0, kl=(0.2,)
    )
    loss = summarise([CASE, other])
    assert (loss.texts, loss.identical, loss.token_agreement) == (2, 1, 0.5)
    assert (loss.sure_tokens, loss.sure_same) == (3, 2)
    assert loss.mean_kl == pytest.approx((0.01 + 0.03 + 0.2) / 3)
    assert (loss.picture_kl, loss.worst_image, loss.worst_kl) == (2.0, "hall.jpg", 0.2)
    assert (loss.answers, loss.right_fp32, loss.right, loss.lost) == (2, 2, 1, 1)
    assert loss.unfinished == 0 and summarise([CASE, replace(other, unfinished=True)]).unfinished == 1
    assert loss.cider is None  # no picture has a reference caption


def test_each_threshold_is_told_when_it_is_missed() -> None:
    """A loss within all thresholds says nothing; each one missed is one phrase with both numbers."""
    loss = summarise([CASE] * 50)
    assert shortfalls("vqa", loss, Thresholds()) == []
    cases = [
        (loss, Thresholds(max_kl=0.01), "mean KL 0.02 nats a token where 0.01 are allowed"),
        (loss, Thresholds(max_picture_loss=0.005), "where 0.01 are allowed (a blank picture costs 2)"),
        (loss.model_copy(update={"sure_same": 96}), Thresholds(), "96 of the 100 tokens FP32 was sure of"),
        (loss.model_copy(update={"identical": 44}), Thresholds(min_identical=0.9), "44 of 50 texts are identical"),
        (loss.model_copy(update={"lost": 2}), Thresholds(), "2 of the 50 answers that FP32 has right are lost"),
    ]
    for changed, thresholds, phrase in cases:
        (told,) = shortfalls("vqa", changed, thresholds)
        assert told.startswith("vqa: ") and phrase in told
    one_off = loss.model_copy(update={"lost": 1, "sure_same": 99})
    assert shortfalls("vqa", one_off, Thresholds(max_lost_answers=0, min_sure_agreement=1)) == []  # chance


def test_a_model_loses_nothing_against_itself(small_bundle: Callable[..., Path], calibration_folder: Path) -> None:
    """The same graphs twice: every text identical and a divergence of 0; a blank picture does cost something."""
    bundle = open_bundle(small_bundle("vqa"))
    examples = held_out(read_folder(calibration_folder, limit=64, hold_out=True), limit=64)
    assert (examples.origin, len(examples)) == ("held out", 2)
    cases = measure(VisionLanguageModel(bundle), VisionLanguageModel(bundle), examples.items)
    assert set(cases) == {"vqa", "caption"}
    for found in cases.values():
        loss = summarise(found)
        assert (loss.texts, loss.identical, loss.mean_kl) == (2, 2, 0)
        assert loss.picture_kl > 1e-4


def test_held_out_pictures_are_not_calibrated_with(tmp_path: Path) -> None:
    """Every fifth picture is set aside; a folder of fewer than five is judged by what it calibrates with."""
    for number, path in enumerate(photo_paths()[:11]):
        (tmp_path / f"{number:02}{path.suffix}").symlink_to(path)
    calibration = read_folder(tmp_path, limit=64, hold_out=True)
    assert [path.stem for path in calibration.held_out] == ["04", "09"]
    assert len(calibration.paths) == 9 and not set(calibration.paths) & set(calibration.held_out)
    for path in sorted(tmp_path.iterdir())[4:]:
        path.unlink()
    small = read_folder(tmp_path, limit=64, hold_out=True)
    assert small.held_out == () and held_out(small, limit=64).origin == "calibration"


def test_file_that_is_no_picture_is_told_and_does_not_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sixty broken files of 64 would calibrate with four and say nothing; with none left it is an error."""
    for number, path in enumerate(photo_paths()[:4]):
        (tmp_path / f"{number}{path.suffix}").symlink_to(path)
    (tmp_path / "4.jpg").write_bytes(b"no picture")
    (tmp_path / "5.png").write_bytes(b"")
    calibration = read_folder(tmp_path, limit=64)
    assert [path.stem for path in calibration.paths] == ["0", "1", "2", "3"]
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in told] == ["left out"] * 2 and "4.jpg" in told[0] and "5.png" in told[1]
    aside = read_folder(tmp_path, limit=64, hold_out=True)
    with pytest.raises(ExportError, match=r"None of the 1 pictures to judge by can be read \(.*4.jpg is the first\)"):
        held_out(aside, limit=64)
    for path in calibration.paths:
        path.unlink()
    with pytest.raises(ExportError, match=r"has no readable picture \(2 files looked like one\)"):
        read_folder(tmp_path, limit=64)


def test_a_folder_may_say_what_is_right(tmp_path: Path) -> None:
    """captions.json as a list or as an object with other things beside; questions.json; questions.txt for the rest."""
    for name, path in zip(("a", "b", "c"), photo_paths(), strict=False):
        (tmp_path / f"{name}.jpg").symlink_to(path)
    (tmp_path / "captions.json").write_text(
        json.dumps({"a.jpg": {"captions": ["a door"], "licence": "none"}, "b.jpg": ["a hall", "a room"]}), "utf-8"
    )
    (tmp_path / "questions.json").write_text(
        json.dumps({"a.jpg": [{"question": "is it open?", "answers": ["no", "closed"]}]}), "utf-8"
    )
    (tmp_path / "questions.txt").write_text("what is it?\n", "utf-8")
    first, second, third = from_folder(tmp_path, limit=64).items
    assert first.questions == (Question(question="is it open?", answers=("no", "closed")),)
    assert (first.captions, second.captions, third.captions) == (("a door",), ("a hall", "a room"), ())
    assert second.questions == third.questions == (Question(question="what is it?"),)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.json", "{", "cannot be read"),
        ("captions.json", '{"a.jpg": []', "cannot be read"),
        ("captions.json", "[]", "does not have the form"),
        ("captions.json", '{"a.jpg": 3}', "does not give captions for 'a.jpg': 3; write a list such as"),
        ("captions.json", '{"a.jpg": []}', "does not give captions for 'a.jpg'"),
        ("captions.json", '{"a.jpg": ["..."]}', "does not give captions for 'a.jpg'"),
        ("captions.json", '{"a.jpg": {"caption": ["a door"]}}', "does not give captions for 'a.jpg'"),
        ("captions.json", '{"z.jpg": ["a door"]}', "names 'z.jpg', which is no picture in that folder"),
        ("questions.json", '{"a.jpg": [{"question": "is it?", "answer": "no"}]}', "a.jpg.0.answer"),
    ],
)
def test_a_file_that_does_not_fit_is_a_sentence(tmp_path: Path, name: str, content: str, message: str) -> None:
    """What is wrong with a file of answers or captions is said before anything is exported."""
    (tmp_path / "a.jpg").symlink_to(photo_paths()[0])
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ExportError, match=message):
        from_folder(tmp_path, limit=64)


def test_scores() -> None:
    """Words are compared without case and punctuation; a caption like its reference scores higher than another."""
    assert words("A dog, on the t-shirt!  It's") == "a dog on the t-shirt it's"
    assert is_right("Yes.", ("yes", "yeah")) and not is_right("yes it is", ("yes",))
    references = [["a red car on a long road"], ["two dogs in a green field"], ["an empty room with a door"]]
    right = [group[0].upper() + "." for group in references]
    cider, bleu = caption_scores(right, references)
    assert cider == pytest.approx(10, abs=0.01) and bleu == pytest.approx(1, abs=1e-4)
    other_cider, other_bleu = caption_scores(right[1:] + right[:1], references)
    assert other_cider < 1 and other_bleu < 0.1


def test_the_quality_of_earlier_bundles_is_read() -> None:
    """Bundles made before the gate had flat figures of parity; they still open."""
    old = {"caption_samples": 8, "caption_identical": 7, "caption_token_agreement": 0.98}
    quality = TypeAdapter(Quality).validate_python(old)
    assert quality.parity["caption"].identical == 7 and quality.loss == {}
