"""A yardstick that others made: the demo's model and training on easy-VQA (V. Zhou, 2019), with its own test split.

`python -m export.demo.easy_vqa OUT [--minutes M]` trains from nothing on the 4,000 training pictures of the package
`easy-vqa` and prints the share of the 9,673 test questions that are answered right, word for word.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import easy_vqa
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset
from tqdm import tqdm

from edge_app.camera.files import load_image
from export.arguments import minutes, whole
from export.demo.checkpoint import DEC_ID, build_tokenizer
from export.demo.data import (
    ANSWER_TOKENS,
    QUESTION_TOKENS,
    QUESTIONS_PER_SCENE,
    RawBatch,
    batches,
    resize_rgb,
    token_row,
)
from export.demo.sight import checkpoint_eyes
from export.demo.train import BATCH_SCENES, Schedule, train

Asked = dict[int, list[tuple[str, str]]]  # picture -> its questions, each with its answer


def read_split(split: str) -> tuple[dict[int, Path], Asked]:
    """Pictures by number and their questions; `split` is "train" or "test"."""
    package: ModuleType = easy_vqa
    texts, answers, numbers = getattr(package, f"get_{split}_questions")()
    asked: Asked = defaultdict(list)
    for text, answer, number in zip(texts, answers, numbers, strict=True):
        asked[number].append((text, answer))
    paths = getattr(package, f"get_{split}_image_paths")()
    return {number: Path(path) for number, path in paths.items()}, dict(asked)


def words_of(asked: Asked) -> list[str]:
    """Every word of these questions and answers, and the question mark; sorted."""
    texts = [text for pairs in asked.values() for pair in pairs for text in pair]
    return sorted({word for text in texts for word in text.replace("?", " ? ").split()})


class EasyBatches(IterableDataset[RawBatch]):
    """Random pictures with random ones of their questions, without end; half of the pictures mirrored."""

    def __init__(self, size: int, seed: int, words: list[str]) -> None:
        self._size, self._seed, self._words = size, seed, words

    def __iter__(self) -> Iterator[RawBatch]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng(self._seed)
        tokenizer = build_tokenizer(self._words)
        paths, asked = read_split("train")
        numbers = np.array(sorted(asked))
        pictures: dict[int, NDArray[np.uint8]] = {number: load_image(paths[number]) for number in numbers}
        while True:
            rows: dict[str, list[NDArray[np.generic]]] = defaultdict(list)
            for number in rng.choice(numbers, size=self._size):
                questions = asked[number]
                chosen = [questions[index] for index in rng.integers(len(questions), size=QUESTIONS_PER_SCENE)]
                answers = [token_row(tokenizer, answer, ANSWER_TOKENS, first=DEC_ID) for _, answer in chosen]
                # No question of easy-VQA is about sides, so a mirrored picture has the same answers.
                picture = resize_rgb(pictures[number])[:, :: 1 if rng.random() < 0.5 else -1]
                rows["pixels"].append(picture)
                rows["questions"].append(np.stack([token_row(tokenizer, text, QUESTION_TOKENS) for text, _ in chosen]))
                rows["answers"].append(np.stack(answers))
            batch = {name: np.stack(values) for name, values in rows.items()}
            yield {**batch, "answer_inputs": batch["answers"]}


def test_accuracy(folder: Path) -> dict[str, float]:
    """Share of the official test questions that the checkpoint answers right, all and by the answer expected."""
    see = checkpoint_eyes(folder)
    paths, asked = read_split("test")
    total: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for number, pairs in tqdm(asked.items(), desc="test pictures", unit="picture"):
        sight = see(load_image(paths[number]))
        for text, expected in pairs:
            total[expected] += 1
            right[expected] += sight.answer(text).text == expected
    shares = {answer: right[answer] / total[answer] for answer in sorted(total)}
    return {"accuracy": right.total() / total.total(), **shares}


def main(argv: list[str] | None = None) -> int:
    """Train, test, print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m export.demo.easy_vqa", description="Train and test on easy-VQA.")
    parser.add_argument("out", type=Path, help="checkpoint folder to write; an older one is replaced")
    parser.add_argument("--minutes", type=minutes, default=20.0, help="training time (default: %(default)s)")
    parser.add_argument(
        "--seed", type=whole(0), default=1, help="of the weights and of the batches (default: %(default)s)"
    )
    parser.add_argument("--threads", type=whole(1), default=2, help="of the trainer (default: %(default)s)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    words = words_of(read_split("train")[1])
    source = batches(EasyBatches(BATCH_SCENES, arguments.seed, words))
    train(source, words, arguments.out, Schedule(arguments.minutes, patch_phase=0.0))
    print(json.dumps(test_accuracy(arguments.out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
