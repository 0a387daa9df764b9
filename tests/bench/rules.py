"""How well rules tell what happens: `python -m tests.bench.rules`.

The scenes are those of the demo's camera, whose truth is known; the rules ask of every pair of colour and shape whether
it is there; thresholds and answers in a row are the defaults; the model is the demo's, or the one that is named. An event
is right if the truth changed just so within the answers that it takes to be told, and each change is told once. An object
that is there at the start is to be told, too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edge_app.demo.drawing import draw
from edge_app.demo.language import noun_phrase
from edge_app.demo.motion import Chronicle
from edge_app.demo.service import bundle_path
from edge_app.demo.world import PAIRS
from edge_app.model.loading import load_models
from edge_app.model.vlm import VisionLanguageModel
from edge_app.rules.judge import Judge, RuleEvent
from edge_app.rules.rule import RuleConfig
from tests.bench.script import run_script

STEPS = 10  # of the scene from answer to answer: at the demo's 10 frames a second, one a second
SIZE_PX = 480
SLACK = 1  # answers that an event may come later than the earliest at which it could
OFF_TOPIC = (
    "what is on the far left?",
    "how many objects are there?",
    "what colour is the circle?",
    "where is the ring?",
)


@dataclass
class Score:
    """Events beside the truth, and what an answer alone is worth."""

    frames: int = 0
    changes: int = 0
    """Of the truth, each to be told by one event."""
    events: int = 0
    right: int = 0
    flaps: int = 0
    """Events of a rule that are followed by its next one within four answers; no object of the scenes stays so short."""
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


def measure(model: VisionLanguageModel, seeds: Sequence[int], frames: int) -> Score:
    """The scenes of several cameras, `frames` answers each."""
    score = Score()
    for seed in seeds:
        chronicle = Chronicle(seed)
        scenes = [chronicle.truth(1 + number * STEPS) for number in range(frames)]
        rules = [RuleConfig(id="-".join(pair), question=f"is there {noun_phrase(pair)}?") for pair in PAIRS]
        judges = [Judge(rule) for rule in rules]
        told: list[list[tuple[int, RuleEvent]]] = [[] for _ in rules]
        for number, scene in enumerate(scenes):
            encoding = model.encode(draw(scene, SIZE_PX))
            off_topic = model.answer(encoding, OFF_TOPIC[number % len(OFF_TOPIC)])
            score.most_mass_off_topic = max(score.most_mass_off_topic, off_topic.yes_no_mass or 0.0)
            answers = model.answers(encoding, [rule.question for rule in rules])
            for pair, judge, events, answer in zip(PAIRS, judges, told, answers, strict=True):
                assert answer.p_yes is not None and answer.yes_no_mass is not None
                score.answers += 1
                score.wrong_answers += (answer.p_yes > 0.5) != (pair in scene.pairs)
                score.least_mass = min(score.least_mass, answer.yes_no_mass)
                if event := judge.judge(answer.p_yes, answer.yes_no_mass, float(number)):
                    events.append((number, event))
        score.frames += frames
        for pair, rule, events in zip(PAIRS, rules, told, strict=True):
            compare([pair in scene.pairs for scene in scenes], events, rule.consecutive, score)
    return score


def compare(truth: Sequence[bool], events: Sequence[tuple[int, RuleEvent]], consecutive: int, score: Score) -> None:
    """Add the events of one rule, each with the number of its answer, beside the truth at each answer."""
    latest = consecutive - 1 + SLACK
    before = False  # what is not there at the start is no news
    changes: list[tuple[int, RuleEvent]] = []
    for number, there in enumerate(truth[: len(truth) - latest]):  # a later change could not be told any more
        if there != before:
            changes.append((number, "rule_on" if there else "rule_off"))
        before = there
    open_changes = list(changes)
    for number, event in events:
        match = next(
            (change for change in open_changes if change[1] == event and 0 <= number - change[0] <= latest), None
        )
        if match is not None:
            open_changes.remove(match)
            score.right += 1
        elif number > len(truth) - 1 - latest:
            continue  # it may be about a change that is not counted
        score.events += 1
    score.changes += len(changes)
    score.flaps += sum(later[0] - earlier[0] < 4 for earlier, later in zip(events, events[1:], strict=False))


def main() -> int:
    """Print the figures as JSON."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bundle", metavar="DIR", type=Path, help="default: the demo's")
    p.add_argument("--seeds", metavar="N", type=int, default=6, help="cameras; default: 6")
    p.add_argument("--frames", metavar="N", type=int, default=600, help="answers of each; default: 600")
    args = p.parse_args()

    def work() -> str:
        model = load_models([args.bundle or bundle_path()], device="CPU").serving("vqa")
        score = measure(model, [22 + number for number in range(args.seeds)], args.frames)
        return json.dumps({"precision": score.precision, "recall": score.recall, **asdict(score)}, indent=1)

    return run_script("rules", work)


if __name__ == "__main__":
    raise SystemExit(main())
