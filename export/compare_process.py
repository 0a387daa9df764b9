"""One bundle in a process of its own, so that its memory and its load time are its own; it works when it is asked to.

The parent asks each process in turn and waits for the answer: while one bundle is measured, the others are idle.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_app.errors import EdgeAppError
from edge_app.model.loading import load_models
from edge_app.model.manifest import Task
from edge_app.model.measure import rss_bytes, time_round
from edge_app.model.result import Text
from edge_app.model.vlm import VisionLanguageModel
from export.errors import ExportError
from export.linked_process import LinkedProcess, serving

Picture = NDArray[np.uint8]  # [H, W, 3] BGR


@dataclass(frozen=True)
class Loaded:
    """What loading a bundle took, and where it ended up: checks of every file and of the device included."""

    load_s: float
    device: str
    threads: int | None  # of the CPU, as OpenVINO chose them; None where the device does not say
    fallbacks: tuple[str, ...]


@dataclass(frozen=True)
class Said:
    """A text and its new token ids, without prompt or start token."""

    text: str
    token_ids: tuple[int, ...]


class BundleProcess(LinkedProcess):
    """A process that has loaded one bundle. Every method raises ExportError when the bundle or its process fails."""

    loaded: Loaded

    def __init__(self, folder: Path, *, device: str, threads: int) -> None:
        """Start the process and wait until the bundle is loaded."""
        self._folder = folder
        super().__init__(_serve, folder, device, threads)

    def time_round(self, picture: Picture, *, tokens: int, tasks: Sequence[Task]) -> dict[str, float]:
        """`edge_app.model.measure.time_round`."""
        times_ms: dict[str, float] = self._ask(("time_round", {"picture": picture, "tokens": tokens, "tasks": tasks}))
        return times_ms

    def texts(self, picture: Picture, questions: Sequence[str], tasks: Sequence[Task]) -> dict[Task, list[Said]]:
        """The caption, and the answer to each question, decoded as the bundle's manifest has it."""
        said: dict[Task, list[Said]] = self._ask(
            ("texts", {"picture": picture, "questions": questions, "tasks": tasks})
        )
        return said

    def rss_bytes(self) -> int:
        """Memory of the process that is resident now."""
        size_bytes: int = self._ask(("rss_bytes", {}))
        return size_bytes

    def _fault(self, exit_code: int | None) -> ExportError:
        if exit_code == -signal.SIGKILL:
            mend = "It was killed, mostly for want of memory: compare fewer bundles at once, or close other programs."
        else:
            mend = "What it wrote before its end says why; `edge-app bench` on the bundle alone should show the same."
        return ExportError(f"The process that measures {self._folder} ended with exit code {exit_code}. {mend}")


class _Served:
    """The methods of `BundleProcess` where they run."""

    def __init__(self, model: VisionLanguageModel) -> None:
        self._model = model

    def time_round(self, picture: Picture, tokens: int, tasks: Sequence[Task]) -> dict[str, float]:
        return time_round(self._model, picture, tokens=tokens, tasks=tasks)

    def texts(self, picture: Picture, questions: Sequence[str], tasks: Sequence[Task]) -> dict[Task, list[Said]]:
        encoding = self._model.encode(picture)
        said: dict[Task, list[Said]] = {}
        if "caption" in tasks:
            said["caption"] = [_said(self._model.caption(encoding))]
        if "vqa" in tasks:
            said["vqa"] = [_said(self._model.answer(encoding, question)) for question in questions]
        return said

    def rss_bytes(self) -> int:
        return rss_bytes()


def _said(text: Text) -> Said:
    return Said(text.text, text.token_ids[len(text.token_ids) - text.tokens :])


def _serve(link: Connection, folder: Path, device: str, threads: int) -> None:
    """Load the bundle, then answer requests until the parent closes the link."""
    with serving():
        try:
            started = time.perf_counter()
            models = load_models([folder], device=device, threads=threads)
            load_s = time.perf_counter() - started
            (model,) = models.models
            link.send(Loaded(load_s, models.device, model.threads, models.fallbacks))
            served = _Served(model)
            while True:
                method, arguments = link.recv()
                link.send(getattr(served, method)(**arguments))
        except EdgeAppError as error:
            link.send(ExportError(f"{folder}: {error}"))
