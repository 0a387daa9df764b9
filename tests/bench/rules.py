"""How well rules tell what happens: `python -m tests.bench.rules`.

The scenes are those of the demo's camera, whose truth is known. The rules ask whether each pair of colour and shape,
each colour and each shape is there, with the defaults for thresholds and answers in a row; the model is the demo's, or
the one that is named. An event is right if the truth changed just so, at most `LATE` answers before the earliest at
which it could be told; each change is told once. What is there at the start is to be told, too.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_app.demo.drawing import draw
from edge_app.demo.language import article, noun_phrase
from edge_app.demo.motion import Chronicle
from edge_app.demo.service import bundle_path
from edge_app.demo.world import COLOURS, PAIRS, SHAPES, TRAINING_PAIRS, Pair, Scene
from edge_app.model.loading import load_models
from edge_app.model.vlm import VisionLanguageModel
from edge_app.rules.judge import Judge, RuleEvent
from edge_app.rules.rule import RuleConfig
from tests.bench.script import run_script

STEPS = 10  # of the scene from answer to answer: at the demo's 10 frames a second, one a second
SIZE_PX = 480
LATE = 4  # answers; no object of the scenes stays for less than six
OFF_TOPIC = (
    "what is on the far left?",
    "how many objects are there?",
    "what colour is the circle?",
    "where is the ring?",
)


QUESTIONS = (
    *(f"is there {noun_phrase(pair)}?" for pair in PAIRS),
    *(f"is there anything {colour}?" for colour in COLOURS),
    *(f"is there {article(shape)} {shape}?" for shape in SHAPES),
)


def present(scene: Scene) -> list[bool]:
    """The right answer to each of `QUESTIONS`."""
    colours, shapes = {item.colour for item in scene.objects}, {item.shape for item in scene.objects}
    return [
        *(pair in scene.pairs for pair in PAIRS),
        *(colour in colours for colour in COLOURS),
        *(shape in shapes for shape in SHAPES),
    ]


@dataclass
class Score:
    """Events beside the truth, and what an answer alone is worth."""

    frames: int = 0
    changes: int = 0
    """Of the truth, each to be told by one event."""
    events: int = 0
    right: int = 0
    flaps: int = 0
    """Events that the next one of the rule takes back within four answers."""
    answers: int = 0
    wrong_answers: int = 0
    """On the wrong side of a half."""
    least_mass: float = 1.0
    """Of yes and no together, over all answers to the rules."""
    most_mass_off_topic: float = 0.0
    """The same of questions that are not answered by yes or no."""

    @property
    def precision(self) -> float:
        """Right events of all events."""
        return self.right / max(1, self.events)

    @property
    def recall(self) -> float:
        """Changes that were told of all changes."""
        return self.right / max(1, self.changes)


def measure(model: VisionLanguageModel, seeds: Sequence[int], frames: int, pairs: Sequence[Pair] = PAIRS) -> Score:
    """The scenes of several cameras, `frames` answers each; only `pairs` come."""
    score = Score()
    for seed in seeds:
        chronicle = Chronicle(seed, pairs)
        scenes = [chronicle.truth(1 + number * STEPS) for number in range(frames)]
        rules = [RuleConfig(id="x", question=question) for question in QUESTIONS]
        judges = [Judge(rule) for rule in rules]
        told: list[list[tuple[int, RuleEvent]]] = [[] for _ in rules]
        for number, scene in enumerate(scenes):
            encoding = model.encode(draw(scene, SIZE_PX))
            off_topic = model.answer(encoding, OFF_TOPIC[number % len(OFF_TOPIC)])
            score.most_mass_off_topic = max(score.most_mass_off_topic, off_topic.yes_no_mass or 0.0)
            answers = model.answers(encoding, [rule.question for rule in rules])
            for there, judge, events, answer in zip(present(scene), judges, told, answers, strict=True):
                assert answer.p_yes is not None and answer.yes_no_mass is not None
                score.answers += 1
                score.wrong_answers += (answer.p_yes > 0.5) != there
                score.least_mass = min(score.least_mass, answer.yes_no_mass)
                if event := judge.judge(answer.p_yes, answer.yes_no_mass, float(number)):
                    events.append((number, event))
        score.frames += frames
        truths = zip(*map(present, scenes), strict=True)
        for truth, rule, events in zip(truths, rules, told, strict=True):
            compare(truth, events, rule.consecutive, score)
    return score


def compare(truth: Sequence[bool], events: Sequence[tuple[int, RuleEvent]], consecutive: int, score: Score) -> None:
    """Add the events of one rule, each with the number of its answer, beside the truth at each answer."""
    latest = consecutive - 1 + LATE
    before = False  # what is not there at the start is no news
    changes: list[tuple[int, RuleEvent]] = []
    for number, there in enumerate(truth[: len(truth) - latest]):  # a later change could not be told any more
        if there != before:
            changes.append((number, "rule_on" if there else "rule_off"))
        before = there
    score.changes += len(changes)
    for number, event in events:
        match = next((at for at in changes if at[1] == event and 0 <= number - at[0] <= latest), None)
        if match is not None:
            changes.remove(match)
            score.right += 1
        elif number > len(truth) - 1 - latest:
            continue  # it may be about a change that is not counted
        score.events += 1
    score.flaps += sum(later[0] - earlier[0] < 4 for earlier, later in itertools.pairwise(events))


def main() -> int:
    """Print the figures as JSON."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bundle", metavar="DIR", type=Path, help="default: the demo's")
    p.add_argument("--seeds", metavar="N", type=int, default=4, help="cameras; default: 4")
    p.add_argument("--frames", metavar="N", type=int, default=300, help="answers of each; default: 300")
    p.add_argument("--trained", action="store_true", help="only pairs of colour and shape that training showed")
    args = p.parse_args()

    def work() -> str:
        model = load_models([args.bundle or bundle_path()], device="CPU").serving("vqa")
        seeds = [22 + number for number in range(args.seeds)]
        score = measure(model, seeds, args.frames, TRAINING_PAIRS if args.trained else PAIRS)
        return json.dumps({"precision": score.precision, "recall": score.recall, **asdict(score)}, indent=1)

    return run_script("rules", work)


if __name__ == "__main__":
    raise SystemExit(main())
