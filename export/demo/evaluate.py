"""How well a demo model sees: captions and answers about fresh scenes, judged against the truth.

A model is two callables, so that the same figures come from the PyTorch checkpoint, from a bundle and from a service
over MQTT: `caption(image)` and `answer(image, question)`, image [H, W, 3] BGR. Each returns the text, or the text with
the confidence (0..1) that the model gives it.

    python -m export.demo.evaluate CHECKPOINT [--scenes N]      prints the figures of the PyTorch model as JSON
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge_app.demo import language, world

Image = NDArray[np.uint8]
Reply = str | tuple[str, float]  # text, or text and confidence
Captioner = Callable[[Image], Reply]
Answerer = Callable[[Image, str], Reply]

FRAME_PX = 240  # the scene as a camera would hand it over; the model's own preprocessing reduces it
UNSEEN_SHARE = 0.25  # of `scenes`, drawn in addition for the recall of withheld pairs
CALIBRATION_BINS = 10


def evaluate(caption: Captioner, answer: Answerer, *, scenes: int = 500, seed: int = 20_000) -> dict[str, Any]:
    """Figures over `scenes` fresh scenes of 1 to 3 objects, each asked one question of every kind that it allows.

    Returns `object_precision`, `object_recall` (objects named in captions, of objects named / of objects there),
    `caption_exact` (captions that are the truth word for word, so in its order, from left to right),
    `unseen_recall` (the recall of pairs withheld from training, in scenes of their own), `answer_accuracy`,
    `by_question` (accuracy a kind), and `ece`: the expected calibration error of the answers' confidences, None when
    the model gives none. All but `unseen_recall` cover training pairs only.
    """
    rng = np.random.default_rng(seed)
    said = there = named = exact = 0
    verdicts: list[tuple[str, bool, float | None]] = []  # kind of question, right, confidence
    for _ in tqdm(range(scenes), desc="scenes", unit="scene"):
        scene = world.random_scene(rng, _random_count(rng), world.TRAINING_PAIRS)
        image = world.draw(scene, FRAME_PX)
        spoken = _split(caption(image))[0]
        exact += spoken.strip() == language.caption(scene)
        objects = language.named_objects(spoken)
        said, there = said + len(objects), there + len(scene.pairs)
        named += language.count_right(objects, scene.pairs)
        for kind in language.KINDS:
            question = language.ask(scene, rng, kind, world.TRAINING_PAIRS)
            if question is not None:
                text, confidence = _split(answer(image, question.text))
                verdicts.append((kind, text.strip() == question.answer, confidence))
    return {
        "object_precision": _share(named, said),
        "object_recall": _share(named, there),
        "caption_exact": _share(exact, scenes),
        "unseen_recall": _unseen_recall(caption, rng, round(scenes * UNSEEN_SHARE)),
        "answer_accuracy": _share(sum(right for _, right, _ in verdicts), len(verdicts)),
        "by_question": _by_kind(verdicts),
        "ece": expected_calibration_error([(right, sure) for _, right, sure in verdicts if sure is not None]),
    }


def expected_calibration_error(verdicts: Sequence[tuple[bool, float]]) -> float | None:
    """Mean distance between confidence and accuracy over bins of confidence, weighted by their answers.

    None without verdicts.
    """
    if not verdicts:
        return None
    right = np.array([verdict for verdict, _ in verdicts], float)
    sure = np.array([confidence for _, confidence in verdicts])
    bins = np.minimum((sure * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [abs((sure - right)[bins == index].sum()) for index in range(CALIBRATION_BINS)]
    return float(sum(gaps) / len(verdicts))


def torch_model(folder: str) -> tuple[Captioner, Answerer]:
    """The two callables of a checkpoint, run by transformers: the reference that a bundle is measured against."""
    import cv2
    import torch
    from transformers import AutoTokenizer, BlipForQuestionAnswering, BlipImageProcessorPil

    model: Any = BlipForQuestionAnswering.from_pretrained(folder)  # in evaluation mode
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = BlipImageProcessorPil.from_pretrained(folder)
    text_config = model.config.text_config

    def pixels(image: Image) -> torch.Tensor:
        values: torch.Tensor = processor(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), return_tensors="pt")["pixel_values"]
        return values

    def finished(output: Any) -> Reply:
        """Generated ids [1, T] after the start token -> the text, and the mean probability of its tokens."""
        ids = output.sequences[0, 1:]
        chosen = [score[0].softmax(-1)[token].item() for score, token in zip(output.scores, ids, strict=True)]
        return str(tokenizer.decode(ids, skip_special_tokens=True)), float(np.mean(chosen))

    @torch.inference_mode()
    def caption(image: Image) -> Reply:
        states = model.vision_model(pixel_values=pixels(image)).last_hidden_state
        start = torch.tensor([[text_config.bos_token_id]])
        output = model.text_decoder.generate(
            input_ids=start,
            encoder_hidden_states=states,
            eos_token_id=text_config.sep_token_id,
            pad_token_id=text_config.pad_token_id,
            max_new_tokens=20,
            output_scores=True,
            return_dict_in_generate=True,
        )
        return finished(output)

    @torch.inference_mode()
    def answer(image: Image, question: str) -> Reply:
        output = model.generate(
            **tokenizer(question, return_tensors="pt", return_token_type_ids=False),
            pixel_values=pixels(image),
            max_new_tokens=10,
            output_scores=True,
            return_dict_in_generate=True,
        )
        return finished(output)

    return caption, answer


def _unseen_recall(caption: Captioner, rng: np.random.Generator, scenes: int) -> float | None:
    """Share of withheld pairs that captions name; each scene has one, among objects of training pairs."""
    named = 0
    for _ in tqdm(range(scenes), desc="unseen pairs", unit="scene"):
        withheld = world.WITHHELD_PAIRS[int(rng.integers(len(world.WITHHELD_PAIRS)))]
        scene = world.random_scene(rng, _random_count(rng), (*world.TRAINING_PAIRS, withheld))
        while withheld not in scene.pairs:
            scene = world.random_scene(rng, _random_count(rng), (*world.TRAINING_PAIRS, withheld))
        objects = language.named_objects(_split(caption(world.draw(scene, FRAME_PX)))[0])
        named += withheld in objects
    return _share(named, scenes)


def _random_count(rng: np.random.Generator) -> int:
    return int(rng.integers(1, world.MOST_OBJECTS + 1))


def _split(reply: Reply) -> tuple[str, float | None]:
    return (reply, None) if isinstance(reply, str) else reply


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _by_kind(verdicts: Sequence[tuple[str, bool, float | None]]) -> dict[str, float]:
    asked, right = Counter(kind for kind, _, _ in verdicts), Counter(kind for kind, good, _ in verdicts if good)
    return {kind: right[kind] / asked[kind] for kind in asked}


def main() -> None:
    """Parse the command line, evaluate, print JSON."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.evaluate", description="Figures of a demo checkpoint.")
    parser.add_argument("checkpoint", help="folder that export.demo.train wrote")
    parser.add_argument("--scenes", type=int, default=500, help="fresh scenes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=20_000, help="of the scenes (default: %(default)s)")
    arguments = parser.parse_args()
    caption, answer = torch_model(arguments.checkpoint)
    print(json.dumps(evaluate(caption, answer, scenes=arguments.scenes, seed=arguments.seed), indent=2))


if __name__ == "__main__":
    main()
