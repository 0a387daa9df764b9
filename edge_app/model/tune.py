"""Which devices run a bundle fastest: every combination of those at hand, measured in turn.

What is compared is the work that a board does most: the caption of a new scene or, for a bundle that only answers, the
first question on a frame. Where the two sides have a device each, the time from one caption to the next with the
following frame encoded meanwhile (`edge_app.model.lookahead`) is measured as well.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_app.errors import DeviceError
from edge_app.frames import Frame, FrameInfo
from edge_app.model.bundle import Bundle
from edge_app.model.device import Compiler
from edge_app.model.encoder import Encoding
from edge_app.model.golden import verify
from edge_app.model.idle import wait_until_idle
from edge_app.model.lookahead import Lookahead
from edge_app.model.measure import ANSWER_TOKENS, forced_to, medians, picture_to_time
from edge_app.model.memory import keep_working_memory
from edge_app.model.placement import Placement
from edge_app.model.vlm import VisionLanguageModel
from edge_app.model.work import CAPTION_TOKENS, QUESTION, Picture, timed

log = logging.getLogger(__name__)

Work = Literal["caption_new_ms", "question_first_ms"]
CAMERA = "tune"
BUILDS_S = 120.0  # longest wait for kernels that a GPU compiles in the background after the first round


@dataclass(frozen=True)
class Trial:
    """What one combination took, in ms.

    Attributes:
        alone_ms: the work alone, from the frame to the text.
        pipelined_ms: from caption to caption with the next frame encoded meanwhile; None where both sides share a
            device, and for questions.
    """

    placement: Placement
    alone_ms: float
    pipelined_ms: float | None

    def judged_ms(self, *, full_rate: bool) -> float:
        """The time that counts: from caption to caption at full rate, else until what was asked for is there."""
        return self.pipelined_ms if full_rate and self.pipelined_ms is not None else self.alone_ms


@dataclass(frozen=True)
class Tuning:
    """The outcome: `trials`, fastest first, and a sentence for each combination that cannot run the bundle."""

    work: Work
    trials: tuple[Trial, ...]
    refused: tuple[str, ...]


def tune(
    bundle: Bundle,
    devices: Sequence[str],
    *,
    runs: int,
    threads: int = 0,
    cache_dir: Path | None = None,
    full_rate: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Tuning:
    """Medians of every combination of `devices`, over `runs` rounds after one that is thrown away.

    A round takes all combinations in turn, so that what else the machine does slows them alike. The models share their
    compiled graphs: each device holds the bundle once. With `full_rate` what counts for captions is the time from one
    to the next, with the following frame encoded meanwhile where the sides have a device each; else the time for one.

    `tell` is told each step before it begins, as part of a sentence.

    Raises:
        DeviceError: none of the combinations can run the bundle.
    """
    models: list[VisionLanguageModel] = []
    refused: list[str] = []
    compilers: dict[str, Compiler] = {}
    for picture, text in itertools.product(devices, repeat=2):
        placement = Placement(picture, text)
        try:
            model = VisionLanguageModel(
                bundle,
                device=picture,
                text_device=text,
                threads=threads,
                cache_dir=cache_dir,
                compilers=compilers,
                tell=tell,
            )
            tell(f"computing the golden sample of {bundle.label} on {placement}")
            verify(model)
        except DeviceError as error:
            log.warning("combination refused device=%s reason=%r", placement, str(error))
            refused.append(str(error))
        else:
            models.append(model)
    if not models:
        raise DeviceError("No device can run the model: " + " ".join(refused))
    keep_working_memory()  # as in the service
    works = {model.placement: _works(model) for model in models}
    rounds: dict[Placement, list[dict[str, float]]] = {placement: [] for placement in works}
    for number in range(runs + 1):
        for placement in list(rounds):
            tell(f"measuring {bundle.label} on {placement}, round {number + 1} of {runs + 1}")
            try:
                rounds[placement].append(_timed_once(works[placement]))
            except DeviceError as error:  # it fails under load: the others are measured all the same
                log.warning("combination refused device=%s reason=%r", placement, str(error))
                refused.append(str(error))
                del rounds[placement]
        if number == 0:
            tell(f"compiling kernels of {bundle.label} in the background")
            wait_until_idle(BUILDS_S)
    if not rounds:
        raise DeviceError("No device can run the model: " + " ".join(refused))
    trials = []
    for placement, times_ms in rounds.items():
        spent_ms = medians(times_ms[1:])
        trials.append(Trial(placement, spent_ms["alone"], spent_ms.get("pipelined")))
    work: Work = "caption_new_ms" if "caption" in bundle.manifest.tasks else "question_first_ms"
    return Tuning(
        work,
        tuple(sorted(trials, key=lambda trial: trial.judged_ms(full_rate=full_rate))),
        tuple(dict.fromkeys(refused)),
    )


def _timed_once(works: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    return {name: work() for name, work in works.items()}


def _works(model: VisionLanguageModel) -> dict[str, Callable[[], float]]:
    """What to time of a model: name -> a function that does it once and returns its milliseconds."""
    picture = picture_to_time(model.manifest.image)
    if "caption" not in model.manifest.tasks:
        answered = forced_to(ANSWER_TOKENS)
        return {"alone": lambda: timed(lambda: model.answer(model.encode(picture), QUESTION, options=answered))}
    captioned = forced_to(CAPTION_TOKENS)
    works = {"alone": lambda: timed(lambda: model.caption(model.encode(picture), options=captioned))}
    if model.placement.is_split:
        works["pipelined"] = _Pipeline(model, picture).time_caption
    return works


class _Pipeline:
    """Captions one after the other as the model's process makes them when the next is always due."""

    def __init__(self, model: VisionLanguageModel, picture: Picture) -> None:
        self._model = model
        self._lookahead = Lookahead(model)
        self._options = forced_to(CAPTION_TOKENS)
        height_px, width_px = picture.shape[:2]
        self._frame = Frame(FrameInfo(1, 0.0, 0.0, width_px, height_px), picture)

    def time_caption(self) -> float:
        """Milliseconds from one caption to the next; one before fills the pipeline."""
        encoding = self._caption(self._model.encode(self._frame.image))
        return timed(lambda: self._caption(encoding))

    def _caption(self, encoding: Encoding) -> Encoding:
        """Caption a frame; the encoding of the next one, begun early if the lookahead finds it worth it."""
        self._lookahead.begin(CAMERA, self._frame, meanwhile=encoding)
        text = self._model.caption(encoding, options=self._options)
        self._lookahead.decoded(text.timing_ms)
        begun = self._lookahead.take(CAMERA)
        return begun[1] if begun else self._model.encode(self._frame.image)
