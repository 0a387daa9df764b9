"""The figures mean what their names say, held by models whose figures are known beforehand."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import edge_app.demo
from edge_app.demo import language, questions, world
from edge_app.demo.drawing import draw
from export.demo import evaluate as evaluation
from export.demo.evaluate import evaluate, expected_calibration_error, main, table
from export.demo.seeds import FIRST_EVALUATION_SEED
from export.demo.sight import Answer, Eyes, Image
from tests.demo.scenes import twins_of

BUNDLE = Path(edge_app.demo.__file__).parent / "bundle"
KEYS = ("object_precision", "object_recall", "unseen_recall", "answer_accuracy", "by_question", "ece")


class Saying:
    """A sight that says the same of every picture."""

    def __init__(self, caption: str, answer: str, p_yes: float | None = None) -> None:
        self._caption, self._answer = caption, Answer(answer, p_yes)

    def caption(self) -> str:
        return self._caption

    def answer(self, _question: str) -> Answer:
        return self._answer


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[world.Scene]:
    """The scenes that the evaluation draws, as they come: the last one is what the eyes are looking at."""
    scenes: list[world.Scene] = []

    def drawing(scene: world.Scene, size_px: int) -> Image:
        scenes.append(scene)
        return draw(scene, size_px)

    monkeypatch.setattr(evaluation, "draw", drawing)
    return scenes


@pytest.fixture
def knowing(drawn: list[world.Scene], monkeypatch: pytest.MonkeyPatch) -> Eyes:
    """Eyes that know the truth of every scene, and the right answer to every question as soon as it is asked."""
    answers: dict[str, str] = {}
    ask = questions.ask

    def asking(*arguments: object) -> questions.Question | None:
        question = ask(*arguments)  # type: ignore[arg-type]
        if question is not None:
            answers[question.text] = question.answer
        return question

    monkeypatch.setattr(questions, "ask", asking)

    class Knowing:
        def caption(self) -> str:
            return language.caption(drawn[-1])

        def answer(self, question: str) -> Answer:
            return Answer(answers[question], 1.0 if answers[question] == questions.YES else 0.0)

    return lambda _: Knowing()


def test_model_that_knows_everything_has_full_marks(knowing: Eyes) -> None:
    """All shares 1, every kind of question asked, and full confidence that is right is perfectly calibrated."""
    figures = evaluate(knowing, scenes=40)
    assert figures.pop("by_question") == dict.fromkeys(questions.KINDS, 1.0)
    assert figures == {
        "object_precision": 1.0,
        "object_recall": 1.0,
        "caption_exact": 1.0,
        "unseen_recall": 1.0,
        "unseen_twins_recall": 1.0,
        "answer_accuracy": 1.0,
        "ece": 0.0,
        "scenes": 40,
        "seed": FIRST_EVALUATION_SEED,
    }


def test_model_that_says_the_same_of_everything_scores_as_chance_does() -> None:
    """One of 42 training pairs always named: a share of 3.5 objects / 42 of the scenes has it; "no" is right of half.

    Precision 3.5 / 42 = 0.083 of what is said, recall 1 / 42 = 0.024. A P(yes) of 0.2 says "no" with 0.8 and is right
    of half of the answers: a calibration error of 0.3.
    """
    figures = evaluate(lambda _: Saying("a red circle", "no", p_yes=0.2), scenes=300)
    assert figures["object_precision"] == pytest.approx(3.5 / 42, abs=0.05)
    assert figures["object_recall"] == pytest.approx(1 / 42, abs=0.015)
    assert figures["caption_exact"] < 0.02
    assert figures["unseen_recall"] == 0
    assert figures["by_question"]["presence"] == pytest.approx(0.5, abs=0.1)
    assert figures["by_question"]["relation"] == pytest.approx(0.5, abs=0.1)
    assert figures["by_question"]["colour"] == figures["by_question"]["count"] == 0
    assert figures["answer_accuracy"] < 0.2
    assert figures["ece"] == pytest.approx(0.3, abs=0.06)


def test_model_that_names_nothing_has_no_precision() -> None:
    """Nothing said, nothing to be precise about: None, and a recall of 0; without P(yes) no calibration."""
    figures = evaluate(lambda _: Saying("nothing", "no"), scenes=8)
    assert figures["object_precision"] is None
    assert figures["object_recall"] == 0
    assert figures["ece"] is None


def test_precision_and_recall_count_the_objects(drawn: list[world.Scene]) -> None:
    """A model that names the leftmost object and a blue object of no scene: half of what it says is right."""

    class Half(Saying):
        def caption(self) -> str:
            absent = next(pair for pair in world.PAIRS if pair not in drawn[-1].pairs)
            return f"{language.noun_phrase(drawn[-1].pairs[0])} left of {language.noun_phrase(absent)}"

    figures = evaluate(lambda _: Half("", ""), scenes=50)
    objects = sum(len(scene.objects) for scene in drawn[:50])
    assert figures["object_precision"] == 0.5
    assert figures["object_recall"] == pytest.approx(50 / objects)
    assert figures["answer_accuracy"] == 0


def test_withheld_things_are_judged_in_scenes_of_their_own(knowing: Eyes, drawn: list[world.Scene]) -> None:
    """Of 40 scenes none has a withheld pair or twin; ten more have one withheld pair each, ten more its twins."""
    evaluate(knowing, scenes=40)
    seen, unseen, twins = drawn[:40], drawn[40:50], drawn[50:]
    assert len(twins) == 10
    for scene in seen:
        assert set(scene.pairs) <= set(world.TRAINING_PAIRS)
        assert not set(twins_of(scene.pairs)) & set(world.WITHHELD_TWINS)
    for scene in unseen:
        assert len([pair for pair in scene.pairs if pair in world.WITHHELD_PAIRS]) == 1
    for scene in twins:
        assert len(twins_of(scene.pairs)) == 1
        assert set(twins_of(scene.pairs)) <= set(world.WITHHELD_TWINS)


def test_recall_of_twins_wants_both(drawn: list[world.Scene]) -> None:
    """A model that names every object once only finds half of the twins, and all of the withheld pairs."""

    class OnceOnly(Saying):
        def caption(self) -> str:
            return " ".join(language.named(pair) for pair in dict.fromkeys(drawn[-1].pairs))

    figures = evaluate(lambda _: OnceOnly("", ""), scenes=40)
    assert figures["unseen_twins_recall"] == 0.5
    assert figures["unseen_recall"] == 1.0


def test_one_seed_is_one_evaluation(drawn: list[world.Scene]) -> None:
    """Anyone can repeat the figures by their seed, and draw other scenes with another."""
    for seed in (30_000, 30_000, 30_001):
        evaluate(lambda _: Saying("", ""), scenes=4, seed=seed)
    first, again, other = drawn[:6], drawn[6:12], drawn[12:]
    assert first == again
    assert not any(one == two for one, two in itertools.product(first, other))


def test_calibration_error_by_hand() -> None:
    """Two answers at 0.9, one right: gap |1.8 - 1| = 0.8. Two at 0.2, none right: 0.4. (0.8 + 0.4) / 4 = 0.3."""
    verdicts = [(True, 0.9), (False, 0.9), (False, 0.2), (False, 0.2)]
    assert expected_calibration_error(verdicts) == pytest.approx(0.3)
    assert expected_calibration_error([(True, 1.0)]) == 0
    assert expected_calibration_error([]) is None


def test_errors_within_one_bin_cancel_and_across_bins_do_not() -> None:
    """0.62 and 0.66 lie in the bin of 0.600 to 0.667, 0.68 in the next: a mean is compared bin by bin.

    One bin: |(0.62 - 1) + (0.66 - 0)| / 2 = 0.14. Two bins: (|0.62 - 1| + |0.68 - 0|) / 2 = 0.53.
    """
    assert expected_calibration_error([(True, 0.62), (False, 0.66)]) == pytest.approx(0.14)
    assert expected_calibration_error([(True, 0.62), (False, 0.68)]) == pytest.approx(0.53)


def test_command_prints_the_figures_of_the_shipped_bundle_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object on stdout, with all figures as shares of 0 to 1."""
    assert main([str(BUNDLE), "--scenes", "6", "--seed", "31000", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(KEYS) <= set(figures)
    assert (figures["scenes"], figures["seed"]) == (6, 31_000)
    shares = [figures[name] for name in KEYS if name != "by_question"] + list(figures["by_question"].values())
    assert all(0 <= share <= 1 for share in shares if share is not None)
    assert set(figures["by_question"]) <= set(questions.KINDS)


def test_table_for_a_person_has_every_figure_in_per_cent() -> None:
    """Shares as per cent; what could not be judged is left out."""
    figures = {"object_recall": 0.975, "ece": None, "by_question": {"count": 0.5}, "scenes": 10, "seed": 7}
    assert table(figures).splitlines() == [
        "10 scenes of seed 7",
        "  object_recall           97.50 %",
        "answers by kind of question",
        "  count                   50.00 %",
    ]


def refusal(folder: object, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says about a folder that it refuses."""
    capsys.readouterr()
    assert main([str(folder), "--scenes", "1"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    return output.err.splitlines()[-1]


def test_folder_that_is_not_there_is_no_name_on_a_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt name is told at once, in our words; no network is asked for it. A file is no folder."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    for name in ("chekpoint", "/nowhere/at/all", "file"):
        expected = f"evaluate-demo: There is no folder {name}; give that of a demo bundle, or a checkpoint's."
        assert refusal(name, capsys) == expected
    assert "is neither a bundle, which has a manifest.json, nor a checkpoint" in refusal(tmp_path, capsys)


def test_model_that_does_not_answer_is_refused(
    small_checkpoint: Callable[[str], Path], small_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint of another class is not filled up with random weights and judged; nor is a bundle for captions."""
    for folder in (small_checkpoint("caption"), small_bundle("caption")):
        expected = f"evaluate-demo: The model in {folder} does not serve vqa; a demo model captions and answers."
        assert refusal(folder, capsys) == expected


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("model.safetensors", "cannot be loaded as BlipForQuestionAnswering"),
        ("config.json", "config.json cannot be read"),
    ],
)
def test_damaged_checkpoint_is_told_in_a_sentence(
    name: str,
    sentence: str,
    small_checkpoint: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Weights or configuration that are no such file: exit code 1, no traceback, no table of zeros."""
    folder = tmp_path / "damaged"
    shutil.copytree(small_checkpoint("vqa"), folder)
    (folder / name).write_bytes(b"{damaged")
    assert sentence in refusal(folder, capsys)


def test_command_says_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    """0 scenes are a usage error."""
    with pytest.raises(SystemExit) as stopped:
        main([str(BUNDLE), "--scenes", "0"])
    assert stopped.value.code == 2
    assert "0 is out of range; give at least 1" in capsys.readouterr().err
