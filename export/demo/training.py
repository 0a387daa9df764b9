"""The loop that trains the demo model: FP32 weights, BF16 copies that compute, a checkpoint every few minutes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from export.demo import resume
from export.demo.checkpoint import build_model
from export.demo.data import Batch
from export.demo.losses import Losses
from export.demo.optimiser import Optimiser
from export.demo.schedule import Schedule
from export.demo.targets import TASKS

BATCH_SCENES = 32
WEIGHTS = (4.0, 1.0, 2.0, 1.0)  # of the losses of patches, captions, answers, mentions
SAVE_EVERY_S = 300.0
LOG_EVERY_STEPS = 50

log = logging.getLogger("export.demo.train")


def train(
    pictures: Iterable[Batch], words: Sequence[str], out: Path, schedule: Schedule, start: resume.Start | None = None
) -> None:
    """Train a model of these words and leave the checkpoint in `out`, written anew every few minutes on the way.

    Without `start` the model starts from nothing.

    Raises:
        ExportError: the weights of `start` are not those of this model, or the disk does not take the checkpoint.
        KeyboardInterrupt: on Ctrl-C; its words say which checkpoint is left.
    """
    full = Losses(build_model(words))  # FP32; holds the weights whenever they are saved
    steps, kept = 0, None  # done in all runs, and by the last checkpoint of this one
    if start is not None:
        steps = start.steps
        resume.load(full, start.folder)
    computing = Losses(build_model(words)).bfloat16().train()
    computing.load_state_dict(full.state_dict())
    optimiser = Optimiser(computing, [weight.detach() for weight in full.parameters()])
    losses_of = torch.compile(computing)
    weights = torch.tensor(WEIGHTS)
    log.info("training begins step=%d minutes=%g", steps, schedule.minutes)
    started_s = saved_s = time.monotonic()
    try:
        for batch in pictures:
            spent = (time.monotonic() - started_s) / (60 * schedule.minutes)  # share of the time
            if spent >= 1:
                break
            losses, right = losses_of(batch, texts=schedule.has_texts(spent))
            optimiser.step((losses * weights).sum(), schedule.rate(spent))
            steps += 1
            if steps % LOG_EVERY_STEPS == 0:
                _report(steps, spent * schedule.minutes, losses, right)
            if time.monotonic() - saved_s > SAVE_EVERY_S:
                _save(full, optimiser, out, words, steps)
                saved_s, kept = time.monotonic(), steps
        _save(full, optimiser, out, words, steps)
    except KeyboardInterrupt as interrupt:
        left = "no checkpoint has been written yet" if kept is None else f"the checkpoint in {out} is of step {kept}"
        raise type(interrupt)(left) from None


def _report(step: int, minutes: float, losses: Tensor, right: Tensor) -> None:
    shares = " ".join(f"{name}={share:.2f}" for name, share in zip(TASKS, right.tolist(), strict=True))
    text = "trained step=%d minutes=%.1f patches=%.3f captions=%.3f answers=%.3f mentions=%.3f %s"
    log.info(text, step, minutes, *losses.tolist(), shares)


def _save(full: Losses, optimiser: Optimiser, out: Path, words: Sequence[str], steps: int) -> None:
    with torch.no_grad():
        for weight, master in zip(full.parameters(), optimiser.masters(), strict=True):
            weight.copy_(master)
    resume.save(full, out, words, steps=steps)
