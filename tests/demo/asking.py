"""Scenes to ask about, and all that is asked of a scene."""

from __future__ import annotations

import numpy as np

from edge_app.demo import language, questions
from edge_app.demo.world import Pair, Scene
from tests.demo.scenes import pairs_of, row_of, scene

THREE = row_of(*pairs_of("red circle,orange star,blue circle"))
TWINS = row_of(*pairs_of("red circle,red circle,blue star"))
EMPTY = scene()


def asked(shown: Scene, kind: str, draws: int = 800) -> dict[str, str]:
    """All questions of a kind that many draws bring up, with their answers."""
    rng = np.random.default_rng(0)
    made = (questions.ask(shown, rng, kind) for _ in range(draws))
    found: dict[str, str] = {}
    for question in made:
        if question is not None:
            assert question.kind == kind
            assert found.setdefault(question.text, question.answer) == question.answer, "one question, one answer"
    return found


def brought_up(text: str) -> list[Pair]:
    """The pairs that a question names."""
    return language.named_objects(text.replace("?", " "))
