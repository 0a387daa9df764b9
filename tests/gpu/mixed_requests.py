"""Thousands of requests of all lengths to one model, and what the device builds meanwhile; JSON on stdout.

usage: python -m tests.gpu.mixed_requests BUNDLE [--requests N] [--device GPU] [--cache-dir DIR] [--shapes free]

Under the emulated GPU it tells programs and launches, too. `--shapes` overrides what suits the device, to compare.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from edge_app.demo.drawing import draw
from edge_app.demo.world import random_scene
from edge_app.ending import keep_until_end, run_and_end
from edge_app.model import vlm
from edge_app.model.chores import Chores
from edge_app.model.encoder import Encoding
from edge_app.model.golden import QUESTION
from edge_app.model.loading import load_models
from edge_app.model.manifest import TextSpec
from edge_app.model.shapes import FREE, Shapes, coarse, fine, shapes_for
from edge_app.model.vlm import VisionLanguageModel
from tests.gpu.emulation import counters, settled

WORDS = ("is", "there", "a", "red", "green", "blue", "circle", "square", "the", "on", "left", "right", "of", "what",
         "how", "many", "objects", "are", "and", "ring", "star")  # fmt: skip
PICTURES = 12


def rss_mb() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


class Requests:
    """Requests of all kinds that the tasks of a model take, the same ones in every run."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model
        self._rng = np.random.default_rng(7)
        side = model.manifest.image.height_px
        self._pictures = [
            draw(random_scene(np.random.default_rng(seed), 1 + seed % 6), side) for seed in range(PICTURES)
        ]
        self._words = [word for word in WORDS if len(model.codec.question_ids(word)) == 3]  # one token each
        self._caption: tuple[int, ...] = ()
        of_task = {
            "caption": [self._caption_new, self._caption_drafted],
            "vqa": [self._question, self._batch, self._choice],
        }
        self._kinds = [kind for task in model.manifest.tasks for kind in of_task[task]]

    def next(self) -> tuple[str, float]:
        """Make the next request; its kind and how long it took, in ms."""
        kind = self._kinds[int(self._rng.integers(len(self._kinds)))]
        picture = self._pictures[int(self._rng.integers(PICTURES))]
        encoding = self._model.encode(picture)
        started = time.perf_counter()
        kind(encoding)
        return kind.__name__.strip("_"), (time.perf_counter() - started) * 1000

    def question(self) -> str:
        """A question of 4 to 30 tokens."""
        return " ".join(self._rng.choice(self._words, int(self._rng.integers(2, 29))))

    def _caption_new(self, encoding: Encoding) -> None:
        self._caption = self._model.caption(encoding).token_ids

    def _caption_drafted(self, encoding: Encoding) -> None:
        self._caption = self._model.caption(encoding, draft=self._caption).token_ids

    def _question(self, encoding: Encoding) -> None:
        self._model.answer(encoding, self.question())

    def _batch(self, encoding: Encoding) -> None:
        self._model.answers(encoding, [self.question() for _ in range(int(self._rng.integers(1, 17)))])

    def _choice(self, encoding: Encoding) -> None:
        choices = self._words[: int(self._rng.integers(2, len(self._words)))]
        self._model.answer(encoding, QUESTION, choices=choices)


def grown(after: dict[str, int], before: dict[str, int]) -> dict[str, float]:
    """What was built between two counts: programs from source and from the cache."""
    if not after:
        return {}
    return {
        "from_source": after["builds_source"] - before["builds_source"],
        "from_cache": after["builds_binary"] - before["builds_binary"],
        "build_cpu_s": round((after["build_us"] - before["build_us"]) / 1e6, 1),
        "launches": after["launches"] - before["launches"],
        "device_mb": round(after["usm_live"] / 2**20, 1),
    }


def phase(work: Callable[[], object]) -> dict[str, float]:
    """Do `work`, wait for what it has built, and tell it."""
    before, began = counters(), time.monotonic()
    work()
    spent_s = time.monotonic() - began
    return {**grown(settled(), before), "spent_s": round(spent_s, 1), "rss_mb": rss_mb()}


def warm(chores: Chores) -> None:
    """Do all that the process does in idle moments, without the moments."""
    while chores.has_shapes:
        chores.do_next()
    settled()
    chores.list_compiled()


def main() -> int:
    """Load, warm up, make the requests, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--device", default="GPU")
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--shapes", choices=("own", "free", "coarse", "fine"), default="own")
    arguments = parser.parse_args()
    told: dict[str, Any] = {}

    def load() -> None:
        models = load_models(
            [arguments.bundle], device=arguments.device, cache_dir=arguments.cache_dir, threads=arguments.threads
        )
        keep_until_end(models)
        told["models"] = models

    chosen: dict[str, Callable[[str, TextSpec], Shapes]] = {
        "free": lambda *_: FREE,
        "coarse": lambda *given: coarse(given[1]),
        "fine": lambda *given: fine(given[1]),
        "own": shapes_for,
    }
    with patch.object(vlm, "shapes_for", chosen[arguments.shapes]):
        phases = {"load": phase(load)}
    models = told["models"]
    (model,) = models.models
    phases["warm_up"] = phase(partial(warm, Chores(models)))
    requests = Requests(model)
    times_ms: dict[str, list[float]] = {}
    memory_mb = [rss_mb()]

    def serve() -> None:
        for number in range(1, arguments.requests + 1):
            kind, spent_ms = requests.next()
            times_ms.setdefault(kind, []).append(spent_ms)
            if number % max(1, arguments.requests // 8) == 0:
                memory_mb.append(rss_mb())

    phases["requests"] = phase(serve)
    figures = {
        "device": model.device,
        "requests": arguments.requests,
        "phases": phases,
        "memory_mb": memory_mb,
        "median_ms": {kind: round(statistics.median(spent), 2) for kind, spent in sorted(times_ms.items())},
    }
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    run_and_end(main)
