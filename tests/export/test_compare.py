"""`python -m export compare`: bundles side by side, each in a process of its own, and what cannot be compared."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import edge_app.demo
from edge_app.camera.files import load_image
from edge_app.model.bundle import open_bundle
from edge_app.model.loading import load_models
from edge_app.model.measure import picture_to_time, time_round
from edge_app.model.vlm import VisionLanguageModel
from export import compare, compare_arguments
from export.__main__ import main
from export.compare_checks import check_inputs
from export.compare_material import QUESTIONS_A_PICTURE, SCENES, Material, drawn, material_from
from export.compare_picture import _label, draw
from export.compare_process import BundleProcess, Said
from export.compare_report import Agreement, Comparison, Figures, agreement, table
from export.errors import ExportError
from tests.photos import photo_paths

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
DEMO_ROOM = open_bundle(DEMO).manifest.text.max_positions - 1  # one is the start token's
SmallBundle = Callable[..., Path]


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos, a file that is none, and two questions."""
    folder = tmp_path_factory.mktemp("photos")
    for path in photo_paths()[:3]:
        (folder / path.name).symlink_to(path)
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "questions.txt").write_text("is there a dog?\nwhat colour is it?\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def report(small_bundle: SmallBundle, photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A whole comparison by the command line: FP32, INT8, and FP32 again."""
    picture = tmp_path_factory.mktemp("picture") / "compared.png"
    folders = [small_bundle("vqa", precision) for precision in ("fp32", "int8", "fp32")]
    options = ["--pictures", photo_folder, "--runs", 2, "--tokens", 6, "--device", "CPU", "--threads", 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "LOADS", 2)
        lines: list[str] = []
        patch.setattr("builtins.print", lambda *words, file=None: lines.append(words[0]) if file is None else None)
        code = main(["compare", *map(str, [*folders, *options, "--json", "--picture", picture])])
    assert (code, len(lines)) == (0, 1)
    result: dict[str, Any] = json.loads(lines[0])
    result["picture"] = picture
    return result


def test_every_measure_is_there_for_every_bundle(report: dict[str, Any], small_bundle: SmallBundle) -> None:
    """Size of all files on disk, seconds to load, stages, memory; names that tell two copies of a bundle apart."""
    assert (report["threads"], report["runs"], report["tokens"], report["pictures"]) == (1, 2, 6, 3)
    assert report["tasks"] == ["vqa", "caption"]
    assert len({one["label"] for one in report["bundles"]}) == 3
    assert [one["threads"] for one in report["bundles"]] == [1, 1, 1]
    for one, precision in zip(report["bundles"], ("fp32", "int8", "fp32"), strict=True):
        folder = small_bundle("vqa", precision)
        assert (one["path"], one["precision"], one["device"], one["fallbacks"]) == (str(folder), precision, "CPU", [])
        assert one["size_bytes"] == sum(file.stat().st_size for file in folder.iterdir())
        assert one["load_s"] > 0
        assert one["rss_bytes"] > 50e6
        stages = {f"{work}_{stage}" for work in ("caption", "question") for stage in ("image", "vision", "decode")}
        stages |= {"caption_total", "question_total", "question_question", "question_further"}
        assert all(one["stages_ms"][stage] > 0 for stage in stages)
        assert "ms_per_token" in one["stages_ms"]  # a difference of two times: noise may make it negative
    sizes = [one["size_bytes"] for one in report["bundles"]]
    assert sizes[1] < 0.4 * sizes[0]


def test_a_bundle_agrees_with_itself_and_int8_is_judged_by_what_it_says(
    report: dict[str, Any], small_bundle: SmallBundle
) -> None:
    """The reference is compared with nothing, its copy agrees in every token; the figures of INT8 are those that the
    two models, asked here, give: three captions, and nine answers to the folder's questions in turn."""
    first, second, copy = (one["agreement"] for one in report["bundles"])
    assert first == {}
    assert copy["caption"] == {"texts": 3, "identical": 3, "token_agreement": 1.0}
    assert copy["vqa"] == {"texts": 9, "identical": 9, "token_agreement": 1.0}
    models = [
        load_models([small_bundle("vqa", precision)], device="CPU").serving("vqa") for precision in ("fp32", "int8")
    ]
    captions, answers = [], []
    questions = ["is there a dog?", "what colour is it?"] * 5
    for index, path in enumerate(sorted(photo_paths()[:3], key=lambda path: path.name)):
        image = load_image(path)
        encodings = [model.encode(image) for model in models]
        captions.append([model.caption(encoding).text for model, encoding in zip(models, encodings, strict=True)])
        answers += [
            [model.answer(encoding, question).text for model, encoding in zip(models, encodings, strict=True)]
            for question in questions[3 * index : 3 * index + 3]
        ]
    assert second["caption"]["identical"] == sum(one == two for one, two in captions)
    assert second["vqa"]["identical"] == sum(one == two for one, two in answers)
    assert second["vqa"]["texts"] == len(answers) == 9


def test_the_picture_is_a_png_of_1200_pixels(report: dict[str, Any]) -> None:
    """Drawn, and not empty: the colours of vision, question and decode are all in it."""
    image = cv2.imread(str(report["picture"]))
    assert image is not None
    assert image.shape[1] == 1200
    for rgb in ((0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0x00, 0x9E, 0x73)):
        assert np.all(image == rgb[::-1], axis=2).sum() > 20


def test_bundles_take_turns(small_bundle: SmallBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run of each, the next run beginning with the next bundle: nobody always follows the same one; the first
    run is not counted."""
    folders = [small_bundle("vqa", "fp32"), small_bundle("vqa", "int8")]
    turns: list[BundleProcess] = []
    real = BundleProcess.time_round

    def noted(self: BundleProcess, picture: NDArray[np.uint8], **arguments: Any) -> dict[str, float]:
        turns.append(self)
        times_ms = real(self, picture, **arguments)
        return times_ms if len(turns) > 2 else dict.fromkeys(times_ms, 1e9)

    monkeypatch.setattr(BundleProcess, "time_round", noted)
    monkeypatch.setattr(compare, "LOADS", 1)
    comparison = compare.compare(folders, runs=2, tokens=4, device="CPU", threads=1)
    one, other = turns[:2]
    assert one is not other
    assert turns == [one, other, other, one, one, other]
    assert all(figures.stages_ms["caption_total"] < 1e8 for figures in comparison.bundles)


def said(*texts: tuple[str, Sequence[int]]) -> list[Said]:
    return [Said(text, tuple(ids)) for text, ids in texts]


def test_agreement_of_three_texts() -> None:
    """[5 6 7] and [5 6 7]: 3 of 3; [5 6] and [5 9 7]: 1 of 3, the longer one counts; [8] and [9]: 0 of 1. Together
    4 of 7, and one of three texts is identical. With other vocabularies ids mean nothing, texts still do."""
    one = said(("a b", (5, 6, 7)), ("a", (5, 6)), ("c", (8,)))
    two = said(("a b", (5, 6, 7)), ("a d", (5, 9, 7)), ("d", (9,)))
    assert agreement(one, two, same_vocabulary=True) == Agreement(3, 1, 4 / 7)
    assert agreement(one, two, same_vocabulary=False) == Agreement(3, 1, None)


def test_what_only_some_bundles_serve_is_left_out_and_told(
    small_bundle: SmallBundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A captioning bundle and one for both tasks are compared on captions; other words than the demo's have no token
    agreement."""
    monkeypatch.setattr(compare, "LOADS", 1)
    folders = [small_bundle("caption", "fp32"), small_bundle("vqa", "int8"), DEMO]
    code = main(["compare", *map(str, folders), "--runs", "1", "--tokens", "3", "--device", "CPU", "--threads", "1"])
    shown = capsys.readouterr().out
    assert code == 0
    assert f"{folders[1]} serves vqa too; that was not compared, but its size and memory count." in shown
    rows = dict(re.split("  +", line, maxsplit=1) for line in shown.splitlines() if "  " in line.strip())
    assert {"caption of 3 tokens, ms", "identical captions", "decode, ms a token"} <= set(rows)
    assert not {"identical answers", "further question, ms", "question, ms"} & set(rows)
    first, second, third = re.split("  +", rows["tokens of captions that agree"])
    assert (first, third) == ("reference", "other words")
    assert second.endswith("%")  # the two small bundles have the same vocabulary


def test_bundles_without_a_common_task_are_refused(
    small_bundle: SmallBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Captions only and answers only: exit code 1, and what each serves."""
    captioning, answering = small_bundle("caption", "fp32"), tmp_path / "answering"
    shutil.copytree(small_bundle("vqa", "fp32"), answering)
    manifest = json.loads((answering / "manifest.json").read_text(encoding="utf-8"))
    (answering / "manifest.json").write_text(json.dumps({**manifest, "tasks": ["vqa"]}), encoding="utf-8")
    capsys.readouterr()
    assert main(["compare", str(captioning), str(answering)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{captioning} serves caption; {answering} serves vqa" in told.err


def test_what_cannot_be_compared_is_told_before_the_long_work(
    small_bundle: SmallBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wrong input: exit code 1, one sentence, nothing on stdout, and no process started."""
    good = small_bundle("vqa", "fp32")
    changed = tmp_path / "changed"
    shutil.copytree(good, changed)
    weights = bytearray((changed / "decoder.bin").read_bytes())
    weights[1000] ^= 1
    (changed / "decoder.bin").write_bytes(weights)
    empty = tmp_path / "empty"
    empty.mkdir()
    wordy = tmp_path / "wordy"
    wordy.mkdir()
    (wordy / "photo.jpg").write_text("no photo", encoding="utf-8")
    (wordy / "notes.txt").write_text("no photo", encoding="utf-8")
    drawings = tmp_path / "drawings.png"
    drawings.mkdir()
    chatty = tmp_path / "chatty"
    chatty.mkdir()
    (chatty / "photo.png").symlink_to(next(path for path in photo_paths() if path.suffix == ".png"))
    (chatty / "questions.txt").write_text("is it red?\n" + "why " * 40, encoding="utf-8")
    monkeypatch.setattr(compare, "BundleProcess", None)
    cases: list[tuple[list[object], str]] = [
        ([good, tmp_path / "nowhere"], "There is no bundle at"),
        ([good, changed], "decoder.bin was changed"),
        ([good, good, "--pictures", tmp_path / "nowhere"], "does not exist"),
        ([good, good, "--pictures", empty], "has no readable picture (0 files looked like one)"),
        ([good, good, "--pictures", wordy], "has no readable picture (1 files looked like one)"),
        ([good, good, "--pictures", chatty], f"{good} cannot be asked 'why why"),
        ([good, DEMO, "--tokens", DEMO_ROOM + 1], f"{DEMO} has room for texts of {DEMO_ROOM} tokens, not"),
        ([good, good, "--picture", tmp_path / "figure.jpg"], "does not end in .png"),
        ([good, good, "--picture", tmp_path / "nowhere" / "figure.png"], "there is no folder"),
        ([good, good, "--picture", drawings], "drawings.png is a folder; name a PNG file"),
    ]
    capsys.readouterr()
    for arguments, words in cases:
        assert main(["compare", *map(str, arguments)]) == 1, words
        told = capsys.readouterr()
        assert told.out == ""
        assert words in told.err
        assert told.err.splitlines()[-1].startswith("compare: ")
    monkeypatch.setattr(compare_arguments, "find_spec", lambda _: None)
    assert main(["compare", str(good), str(good), "--picture", str(tmp_path / "figure.png")]) == 1
    assert "--picture needs matplotlib, which is not installed" in capsys.readouterr().err


def test_the_longest_text_that_is_not_refused_can_be_timed() -> None:
    """The limit that is checked before the loading is the one that the model has."""
    bundle = open_bundle(DEMO)
    material = drawn(bundle.manifest.image)
    check_inputs(bundle, material, tasks=["caption"], tokens=DEMO_ROOM)
    picture = picture_to_time(bundle.manifest.image)
    assert time_round(VisionLanguageModel(bundle), picture, tokens=DEMO_ROOM, tasks=["caption"])["caption_total"] > 0


def test_only_questions_whose_turn_comes_are_checked() -> None:
    """One picture is asked the first three; captions alone are asked nothing."""
    bundle = open_bundle(DEMO)
    (picture, *_), questions = drawn(bundle.manifest.image).pictures, ("is it red?", "is it blue?", "is it green?")
    unasked = Material((picture,), (*questions, "why " * 100))
    check_inputs(bundle, unasked, tasks=["vqa"], tokens=2)
    asked = Material((picture, picture), unasked.questions)
    check_inputs(bundle, asked, tasks=["caption"], tokens=2)
    with pytest.raises(ExportError, match="cannot be asked 'why why"):
        check_inputs(bundle, asked, tasks=["vqa"], tokens=2)


@pytest.mark.parametrize("options", [[], ["--tokens", "257"]])
def test_one_bundle_or_too_long_a_text_is_a_usage_error(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to compare it with, or no text may be that long: exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(["compare", str(DEMO), *([str(DEMO), *options] if options else [])])
    assert end.value.code == 2
    assert ("257 is out of range; give 2 to 256" if options else "required: BUNDLE") in capsys.readouterr().err


def test_material_asks_all_questions_in_turn(photo_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three questions a picture, going on where the last picture ended; a file that is no picture is told and left
    out; drawn scenes are the same each time."""
    asked = [questions for _, questions in material_from(photo_folder, limit=10)]
    dog, colour = "is there a dog?", "what colour is it?"
    assert asked == [[dog, colour, dog], [colour, dog, colour], [dog, colour, dog]]
    assert "left out" in capsys.readouterr().err
    assert len(material_from(photo_folder, limit=2).pictures) == 2
    spec = open_bundle(DEMO).manifest.image
    one, other = list(drawn(spec)), list(drawn(spec))
    assert len(one) == 1 + SCENES
    assert all(len(questions) == QUESTIONS_A_PICTURE for _, questions in one)
    assert all(np.array_equal(first, second) for (first, _), (second, _) in zip(one, other, strict=True))


MIXED = "int8, vision fp16, decoder int4"


def made_up(label: str, *, agreed: dict[Any, Agreement]) -> Figures:
    works = ("caption", "question", "further")
    stages_ms = {f"{work}_{stage}": 10.0 for work in works for stage in ("image", "vision", "question", "decode")}
    stages_ms |= {"caption_total": 40.0, "question_total": 40.0, "question_further": 20.0, "ms_per_token": 1.5}
    return Figures(label, Path(label), MIXED, "CPU", 2, (), 7_000_000, 1.25, stages_ms, 223_000_000, agreed)


def test_a_table_is_readable(tmp_path: Path) -> None:
    """One column a bundle, one row a measure with its unit, figures under each other; many bundles with long names
    are drawn all the same."""
    name = "a-very-long-name-of-a-bundle-" + "x" * 70
    others = [made_up(f"{name}-{number}", agreed={"vqa": Agreement(9, 8, 0.975)}) for number in range(5)]
    comparison = Comparison((made_up("one", agreed={}), *others), ("vqa",), (), "a CPU", 2, 7, 20, 3)
    head, blank, labels, *rows = table(comparison).splitlines()
    assert (head, blank) == ("a CPU, 2 threads; medians of 7 runs, each bundle in its turn", "")
    assert labels.split() == ["one", *(other.label for other in others)]
    assert {len(row) for row in rows} == {len(labels)}
    cells = {row[:29].strip(): row[29:].split("  ")[-1].strip() for row in rows}
    assert cells == {
        "precision": MIXED,
        "device": "CPU",
        "size, MB": "7.0",
        "load, s": "1.25",
        "image, ms": "10.00",
        "vision, ms": "10.00",
        "question, ms": "10.00",
        "first answer of 3 tokens, ms": "40.00",
        "further question, ms": "20.00",
        "memory, MB": "223",
        "identical answers": "8 of 9",
        "tokens of answers that agree": "97.5%",
    }
    assert " ".join(_label(others[0]).splitlines()[-2:]) == f"{MIXED}, CPU"  # beside the bars of the picture
    others[0] = replace(others[0], threads=None)  # on a GPU
    head, *rows = table(replace(comparison, bundles=(comparison.bundles[0], *others), threads=None)).splitlines()
    assert head == "a CPU; medians of 7 runs, each bundle in its turn"
    assert next(row.split() for row in rows if row.startswith("threads")) == ["threads", "2", "-", "2", "2", "2", "2"]
    draw(comparison, tmp_path / "figure.png")
    assert cv2.imread(str(tmp_path / "figure.png")) is not None
    with pytest.raises(ExportError, match="cannot be written"):
        draw(comparison, tmp_path / "nowhere" / "figure.png")
