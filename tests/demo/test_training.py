"""Training from the first step to the checkpoint, on one batch again and again."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.demo import data, optimiser, resume, training
from export.demo.checkpoint import DEMO_WORDS
from export.demo.losses import Losses
from export.demo.schedule import Schedule
from export.demo.sight import open_eyes

pytestmark = pytest.mark.slow

STEPS = 25


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> data.Batch:
    """Two scenes; steps at the full rate from the first on, and no compiler, which takes a minute."""
    monkeypatch.setattr(optimiser, "WARM_UP_STEPS", 5)
    monkeypatch.setattr(torch, "compile", lambda module: module)
    torch.manual_seed(0)
    return data.to_batch(next(iter(data.RandomBatches(size=2, seed=1))))


def trained(monkeypatch: pytest.MonkeyPatch, batch: data.Batch, out: Path, steps: int, **rest: Any) -> list[float]:
    """The sum of the losses before each step."""
    sums: list[float] = []
    forward = Losses.forward

    def noting(self: Losses, *arguments: Any, **named: Any) -> Any:
        losses, right = forward(self, *arguments, **named)
        sums.append(losses.sum().item())
        return losses, right

    with monkeypatch.context() as patch:
        patch.setattr(Losses, "forward", noting)
        schedule = Schedule(60.0, patch_phase=0.0, cool_down=0.0)
        training.train(itertools.repeat(batch, steps), DEMO_WORDS, out, schedule, **rest)
    return sums


def test_training_learns_its_batch_and_goes_on_where_it_ended(
    monkeypatch: pytest.MonkeyPatch, batch: data.Batch, tmp_path: Path
) -> None:
    """The loss falls; the checkpoint opens; a second run begins at or below the loss of the first one's end."""
    sums = trained(monkeypatch, batch, tmp_path / "first", STEPS)
    assert len(sums) == STEPS
    assert sums[-1] < 0.5 * sums[0]
    again = trained(monkeypatch, batch, tmp_path / "second", 1, start=resume.read_start(tmp_path / "first"))
    assert again[0] < 1.1 * sums[-1]
    sight = open_eyes(tmp_path / "first")(np.full((240, 240, 3), 128, np.uint8))
    assert isinstance(sight.caption(), str)
    answer = sight.answer("is there a red circle?")
    assert answer.p_yes is not None
    assert 0 <= answer.p_yes <= 1


def test_texts_wait_for_the_patches(monkeypatch: pytest.MonkeyPatch, batch: data.Batch, tmp_path: Path) -> None:
    """In the first phase no text is computed: the heads of the patches learn, the decoder does not."""
    texts: list[bool] = []
    forward = Losses.forward

    def noting(self: Losses, *arguments: Any, **named: Any) -> Any:
        texts.append(named["texts"])
        return forward(self, *arguments, **named)

    clock = itertools.count(step=6.0)  # seconds: a step takes a tenth of the minute, and two looks at the clock
    monkeypatch.setattr(Losses, "forward", noting)
    monkeypatch.setattr("export.demo.training.time.monotonic", lambda: next(clock))
    monkeypatch.setattr(training, "SAVE_EVERY_S", float("inf"))
    training.train(itertools.repeat(batch), DEMO_WORDS, tmp_path / "out", Schedule(1.0, patch_phase=0.5))
    assert texts == [False, False, True, True, True]


def test_steps_of_all_runs_are_counted(monkeypatch: pytest.MonkeyPatch, batch: data.Batch, tmp_path: Path) -> None:
    """Two steps, then three that go on from there: five, which the next run's scenes are drawn from."""
    trained(monkeypatch, batch, tmp_path / "out", 2)
    assert resume.read_start(tmp_path / "out").steps == 2
    trained(monkeypatch, batch, tmp_path / "out", 3, start=resume.read_start(tmp_path / "out"))
    assert resume.read_start(tmp_path / "out").steps == 5


@pytest.mark.usefixtures("ctrl_c_raises")
@pytest.mark.parametrize(
    ("every_s", "left"), [(0.0, "the checkpoint in .*/out is of step 3"), (300.0, "no checkpoint has been written yet")]
)
def test_interrupted_training_tells_its_last_checkpoint(
    every_s: float, left: str, monkeypatch: pytest.MonkeyPatch, batch: data.Batch, tmp_path: Path
) -> None:
    """Ctrl-C after the third step: the error's words say what is left, and it is."""

    def interrupted() -> Iterator[data.Batch]:
        yield from itertools.repeat(batch, 3)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training, "SAVE_EVERY_S", every_s)
    with pytest.raises(KeyboardInterrupt, match=left):
        training.train(interrupted(), DEMO_WORDS, tmp_path / "out", Schedule(60.0))
    assert (tmp_path / "out").exists() == (every_s == 0)
    if every_s == 0:
        assert resume.read_start(tmp_path / "out").steps == 3
