"""The figures mean what their names say, held by models whose figures are known beforehand."""

from __future__ import annotations

import pytest

from edge_app.demo import language, world
from export.demo.evaluate import Image, evaluate, expected_calibration_error


class Knowing:
    """A model that looks the scene up by its frame: every scene drawn is remembered on the way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._scenes: dict[bytes, world.Scene] = {}
        self._answers: dict[tuple[bytes, str], str] = {}
        self._last = b""
        draw, ask = world.draw, language.ask

        def drawing(scene: world.Scene, size_px: int) -> Image:
            image = draw(scene, size_px)
            self._last = image.tobytes()
            self._scenes[self._last] = scene
            return image

        def asking(scene: world.Scene, *rest: object) -> language.Question | None:
            question = ask(scene, *rest)  # type: ignore[arg-type]
            if question is not None:
                self._answers[self._last, question.text] = question.answer
            return question

        monkeypatch.setattr(world, "draw", drawing)
        monkeypatch.setattr(language, "ask", asking)

    def caption(self, image: Image) -> str:
        return language.caption(self._scenes[image.tobytes()])

    def answer(self, image: Image, question: str) -> tuple[str, float]:
        return self._answers[image.tobytes(), question], 1.0


def test_model_that_knows_everything_has_full_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All shares 1, every kind of question asked, and full confidence is perfectly calibrated."""
    model = Knowing(monkeypatch)
    figures = evaluate(model.caption, model.answer, scenes=40)
    assert figures["by_question"] == dict.fromkeys(language.KINDS, 1.0)
    del figures["by_question"]
    assert figures == {
        "object_precision": 1.0,
        "object_recall": 1.0,
        "caption_exact": 1.0,
        "unseen_recall": 1.0,
        "answer_accuracy": 1.0,
        "ece": 0.0,
    }


def test_model_that_says_the_same_of_everything_scores_as_chance_does() -> None:
    """One of 42 training pairs always named: low precision and recall; "no" is right of half the presence questions."""
    figures = evaluate(lambda _: "a red circle", lambda *_: "no", scenes=200)
    assert 0 < figures["object_precision"] < 0.15
    assert 0 < figures["object_recall"] < 0.10
    assert figures["unseen_recall"] == 0
    assert figures["by_question"]["presence"] == pytest.approx(0.5, abs=0.12)
    assert figures["by_question"]["colour"] == 0
    assert figures["ece"] is None


def test_model_that_names_nothing_has_no_precision() -> None:
    """Nothing said, nothing to be precise about: None, and a recall of 0."""
    figures = evaluate(lambda _: "nothing", lambda *_: "no", scenes=3)
    assert figures["object_precision"] is None
    assert figures["object_recall"] == 0


def test_calibration_error_by_hand() -> None:
    """Two answers at 0.9, one right: gap |1.8 - 1| = 0.8. Two at 0.2, none right: 0.4. (0.8 + 0.4) / 4 = 0.3."""
    verdicts = [(True, 0.9), (False, 0.9), (False, 0.2), (False, 0.2)]
    assert expected_calibration_error(verdicts) == pytest.approx(0.3)
    assert expected_calibration_error([]) is None
