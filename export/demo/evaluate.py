"""How well a demo model sees: captions and answers about fresh scenes, judged against the truth.

`python -m export evaluate-demo BUNDLE [--scenes N] [--seed S] [--json]`; a checkpoint folder does as well.

Any seed from `FIRST_EVALUATION_SEED` on gives scenes that training never saw.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edge_app.demo import language, questions, world
from edge_app.demo.drawing import draw
from edge_app.errors import EdgeAppError
from export.arguments import whole
from export.demo.seeds import FIRST_EVALUATION_SEED
from export.demo.sight import Eyes, Sight, open_eyes
from export.errors import ExportError
from export.stopping import stoppable

FRAME_PX = 240  # the scene as a camera would hand it over; the model's own preprocessing reduces it
WITHHELD_SHARE = 0.25  # of `scenes`, drawn in addition for each of the two things withheld from training
CALIBRATION_BINS = 15  # of confidences from 0 to 1


@dataclass
class _Tally:
    """What captions and answers got right so far."""

    scenes: int = 0
    exact: int = 0
    said: int = 0  # objects named
    there: int = 0
    named: int = 0  # of those there
    asked: Counter[str] = field(default_factory=Counter)  # by kind of question
    right: Counter[str] = field(default_factory=Counter)
    yes_no: list[tuple[bool, float]] = field(default_factory=list)  # right, confidence

    def judge_caption(self, scene: world.Scene, caption: str) -> None:
        objects = language.named_objects(caption)
        self.scenes += 1
        self.exact += caption == language.caption(scene)
        self.said += len(objects)
        self.there += len(scene.pairs)
        self.named += language.count_right(objects, scene.pairs)

    def judge_answer(self, question: questions.Question, sight: Sight) -> None:
        answer = sight.answer(question.text)
        self.asked[question.kind] += 1
        self.right[question.kind] += answer.text == question.answer
        if question.answer in (questions.YES, questions.NO) and answer.p_yes is not None:
            says_yes = answer.p_yes >= 0.5
            right = says_yes == (question.answer == questions.YES)
            self.yes_no.append((right, answer.p_yes if says_yes else 1 - answer.p_yes))


def evaluate(see: Eyes, *, scenes: int = 2_000, seed: int = FIRST_EVALUATION_SEED) -> dict[str, Any]:
    """Figures over `scenes` fresh scenes of 1 to 6 objects, each asked one question of every kind that it allows.

    Returns shares of 0..1, None where nothing was judged:

    - `object_precision`, `object_recall`: objects with the right colour and shape, of those that captions name and of
      those that are there; `caption_exact`: captions that are the truth word for word, in order, with all relations.
    - `unseen_recall`: the same recall of pairs that training withheld; `unseen_twins_recall`: of pairs that training
      never showed twice in a scene; each in scenes of its own.
    - `answer_accuracy`, and `by_question` for each kind; `ece`: the expected calibration error of P(yes).

    Only the figures that begin with "unseen" are of what training withheld.
    """
    rng = np.random.default_rng(seed)
    tally = _Tally()
    for _ in tqdm(range(scenes), desc="scenes", unit="scene"):
        count = int(rng.integers(1, world.MOST_OBJECTS + 1))
        scene = world.random_scene(rng, count, world.TRAINING_PAIRS, twins=world.TRAINING_TWINS)
        sight = see(draw(scene, FRAME_PX))
        tally.judge_caption(scene, sight.caption())
        for kind in questions.KINDS:
            question = questions.ask(scene, rng, kind, world.TRAINING_PAIRS)
            if question is not None:
                tally.judge_answer(question, sight)
    withheld = round(scenes * WITHHELD_SHARE)
    return {
        "object_precision": _share(tally.named, tally.said),
        "object_recall": _share(tally.named, tally.there),
        "caption_exact": _share(tally.exact, tally.scenes),
        "unseen_recall": _recall(see, tqdm(_unseen_scenes(rng, withheld), "unseen pairs", withheld), times=1),
        "unseen_twins_recall": _recall(see, tqdm(_twin_scenes(rng, withheld), "unseen twins", withheld), times=2),
        "answer_accuracy": _share(tally.right.total(), tally.asked.total()),
        "by_question": {kind: tally.right[kind] / tally.asked[kind] for kind in questions.KINDS if tally.asked[kind]},
        "ece": expected_calibration_error(tally.yes_no),
        "scenes": scenes,
        "seed": seed,
    }


def expected_calibration_error(verdicts: Sequence[tuple[bool, float]]) -> float | None:
    """Mean distance of confidence and accuracy over bins of confidence, weighted by their answers (Guo et al. 2017).

    `verdicts` are (right, confidence 0..1). None without any. Who says the likelier of yes and no is sure of it by a
    half at least, so only the upper 8 of the 15 bins are ever filled.
    """
    if not verdicts:
        return None
    right = np.array([verdict for verdict, _ in verdicts], float)
    sure = np.array([confidence for _, confidence in verdicts])
    bins = np.minimum((sure * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [abs((sure - right)[bins == index].sum()) for index in range(CALIBRATION_BINS)]
    return float(sum(gaps) / len(verdicts))


def _unseen_scenes(rng: np.random.Generator, scenes: int) -> Iterator[tuple[world.Scene, world.Pair]]:
    """Scenes with one pair that training withheld among others that it showed."""
    for _ in range(scenes):
        withheld = world.WITHHELD_PAIRS[int(rng.integers(len(world.WITHHELD_PAIRS)))]
        yield _scene_with(rng, [withheld], int(rng.integers(1, world.MOST_OBJECTS + 1))), withheld


def _twin_scenes(rng: np.random.Generator, scenes: int) -> Iterator[tuple[world.Scene, world.Pair]]:
    """Scenes with two of a pair that training only showed alone."""
    for _ in range(scenes):
        twin = world.WITHHELD_TWINS[int(rng.integers(len(world.WITHHELD_TWINS)))]
        yield _scene_with(rng, [twin, twin], int(rng.integers(2, world.MOST_OBJECTS + 1))), twin


def _scene_with(rng: np.random.Generator, pairs: list[world.Pair], count: int) -> world.Scene:
    others = [pair for pair in world.TRAINING_PAIRS if pair not in pairs]
    chosen = rng.choice(len(others), size=count - len(pairs), replace=False)
    return world.scene_of(rng, [*pairs, *(others[index] for index in chosen)])


def _recall(see: Eyes, scenes: Iterable[tuple[world.Scene, world.Pair]], times: int) -> float | None:
    """Share of the objects of a pair, there `times` a scene, that captions name."""
    named = judged = 0
    for scene, pair in scenes:
        objects = language.named_objects(see(draw(scene, FRAME_PX)).caption())
        named += min(objects.count(pair), times)
        judged += times
    return _share(named, judged)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, evaluate, print; the exit code. KeyboardInterrupt passes."""
    parser = argparse.ArgumentParser(prog="python -m export evaluate-demo", description="How well a demo model sees.")
    parser.add_argument(
        "folder", metavar="BUNDLE", type=Path, help="a demo bundle, or a checkpoint of export.demo.train"
    )
    parser.add_argument("--scenes", type=whole(1), default=2_000, help="fresh scenes (default: %(default)s)")
    parser.add_argument(
        "--seed", type=whole(0), default=FIRST_EVALUATION_SEED, help="of the scenes (default: %(default)s)"
    )
    parser.add_argument("--threads", type=whole(0), default=0, help="of the processor; default: the library's choice")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    arguments = parser.parse_args(argv)
    try:
        see = open_eyes(arguments.folder, arguments.threads)
        figures = evaluate(see, scenes=arguments.scenes, seed=arguments.seed)
    except (ExportError, EdgeAppError) as error:
        print(f"evaluate-demo: {error}", file=sys.stderr)
        return 1
    print(json.dumps(figures) if arguments.json else table(figures))
    return 0


def table(figures: dict[str, Any]) -> str:
    """The figures for a person, in per cent."""
    lines = [f"{figures['scenes']} scenes of seed {figures['seed']}"]
    for name, value in figures.items():
        if isinstance(value, float):
            lines.append(f"  {name:<22}{100 * value:7.2f} %")
    lines.append("answers by kind of question")
    lines += [f"  {kind:<22}{100 * share:7.2f} %" for kind, share in figures["by_question"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(stoppable("evaluate-demo", main))
