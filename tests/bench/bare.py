"""The bare inference, to hold the service against: one process, the same video, captions in a plain loop."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from edge_app.model.loading import load_models
from export.linked_process import LinkedProcess, serving
from tests.bench.process import BenchError
from tests.bench.video import read_video


@dataclass(frozen=True)
class Stretch:
    """Captions made one after the other for a while, each with the one before as its draft.

    Attributes:
        per_s: captions a second.
        inference_ms: of each caption, as the model itself tells it.
        tokens: of each caption.
    """

    per_s: float
    inference_ms: tuple[float, ...]
    tokens: tuple[int, ...]


class BareProcess(LinkedProcess):
    """A process that has loaded `bundle` and decoded `video`; it computes only when it is asked."""

    def __init__(self, bundle: Path, video: Path, *, fps: int, threads: int) -> None:
        """Start it and wait until it has loaded; raises BenchError when it ends instead."""
        super().__init__(_serve, bundle, video, fps, threads)

    def caption_for(self, seconds: float) -> Stretch:
        """Caption what a camera would show at each moment, as fast as it goes."""
        stretch: Stretch = self._ask(seconds)
        return stretch

    def _fault(self, exit_code: int | None) -> BenchError:
        return BenchError(f"The bare process ended with exit code {exit_code}; what it wrote before says why.")


def _serve(link: Connection, bundle: Path, video: Path, fps: int, threads: int) -> None:
    os.dup2(2, 1)  # stdout is the parent's alone
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with serving():
        (model,) = load_models([bundle], device="CPU", threads=threads).models  # as the service does
        frames = read_video(video)
        draft = model.caption(model.encode(frames[0])).token_ids
        link.send({})
        while True:
            seconds: float = link.recv()
            started_s = now_s = time.perf_counter()
            texts = []
            while now_s - started_s < seconds:
                frame = frames[int((now_s - started_s) * fps) % len(frames)]
                texts.append(model.caption(model.encode(frame), draft=draft))
                draft = texts[-1].token_ids
                now_s = time.perf_counter()
            link.send(
                Stretch(
                    len(texts) / (now_s - started_s),
                    tuple(text.timing_ms["total"] for text in texts),
                    tuple(text.tokens for text in texts),
                )
            )
