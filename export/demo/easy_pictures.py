"""What easy-VQA (V. Zhou, 2019) has to show and to ask: batches for the trainer, and the score on its test split.

Pictures and questions come with the package `easy-vqa`, which is no part of the export's own requirements.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset
from tqdm import tqdm

from edge_app.camera.files import load_image
from export.demo.checkpoint import DEC_ID, build_tokenizer
from export.demo.data import QUESTIONS_PER_SCENE, RawBatch, resize_rgb, token_row
from export.demo.lengths import ANSWER_TOKENS, QUESTION_TOKENS
from export.demo.sight import checkpoint_eyes
from export.errors import ExportError

Asked = dict[int, list[tuple[str, str]]]  # picture -> its questions, each with its answer


def read_split(split: str) -> tuple[dict[int, Path], Asked]:
    """Pictures by number and their questions; `split` is "train" or "test".

    Raises ExportError when the package is not installed.
    """
    package = _package()
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


def score(folder: Path) -> dict[str, float]:
    """Share of the official test questions that the checkpoint answers right, all and by the answer expected.

    Raises ExportError when there is no such checkpoint.
    """
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


def _package() -> ModuleType:
    try:
        import easy_vqa
    except ModuleNotFoundError as error:
        raise ExportError("The package easy-vqa is not installed; run pip install easy-vqa.") from error
    package: ModuleType = easy_vqa
    return package
