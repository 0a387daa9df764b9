"""Train the demo model: `python -m export.demo.train OUT [--minutes M] [--seed S] [--threads N] [--start CHECKPOINT]`.

Two phases share the time. First the vision tower alone names what the renderer knows of every patch; then the whole
model captions and answers, the patches going on as a side task, so that the text side learns from states that already
mean something. (Captions alone, from the first step, took 40 minutes to reach a precision of 0.64; after 7 minutes of
patches they were at 0.94 in 15.) The heads that name patches and mentions are no part of the checkpoint;
they are kept beside it for training that goes on.

The schedule follows the clock, not the number of steps: a slower machine trains less but ends as cool.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor
from transformers import BlipForQuestionAnswering

from export.arguments import minutes, share, whole
from export.demo.checkpoint import DEMO_WORDS, build_model, save_checkpoint
from export.demo.data import Batch, RandomBatches, batches
from export.demo.losses import Losses
from export.demo.optimiser import Optimiser
from export.demo.targets import TASKS

BATCH_SCENES = 32
PATCH_PHASE_SHARE = 0.2  # of the time
WEIGHTS = (4.0, 1.0, 2.0, 1.0)  # of the losses of patches, captions, answers, mentions
COOL_DOWN_SHARE = 0.4  # of the time, at the end, in which the rate falls to nothing
SAVE_EVERY_S = 300.0
LOG_EVERY_STEPS = 50
TRAINING_NAME = "training.safetensors"  # the model and its two heads, FP32

log = logging.getLogger("export.demo.train")


@dataclass(frozen=True)
class Schedule:
    """How long, and how the time is shared."""

    minutes: float
    patch_phase: float = PATCH_PHASE_SHARE  # share of the time, at the start, without texts
    cool_down: float = COOL_DOWN_SHARE  # 0 leaves the training warm, to go on another day


def train(
    pictures: Iterable[Batch], words: Sequence[str], out: Path, schedule: Schedule, start: Path | None = None
) -> None:
    """Train a model of these words and leave the checkpoint in `out`, written anew every few minutes on the way.

    `start` is a checkpoint to go on from; without it the model starts from nothing.
    """
    full = Losses(build_model(words))  # FP32; holds the weights whenever they are saved
    if start is not None:
        load_model(full, start / TRAINING_NAME, strict=False)
    computing = Losses(build_model(words)).bfloat16().train()
    computing.load_state_dict(full.state_dict())
    optimiser = Optimiser(computing, [weight.detach() for weight in full.parameters()])
    losses_of = torch.compile(computing)
    weights = torch.tensor(WEIGHTS)
    started_s = saved_s = time.monotonic()
    for step, batch in enumerate(pictures, start=1):
        spent = (time.monotonic() - started_s) / (60 * schedule.minutes)  # share of the time
        if spent >= 1:
            break
        losses, right = losses_of(batch, texts=spent >= schedule.patch_phase)
        optimiser.step(
            (losses * weights).sum(), min(1.0, (1 - spent) / schedule.cool_down) if schedule.cool_down else 1.0
        )
        if step % LOG_EVERY_STEPS == 0:
            _report(step, spent * schedule.minutes, losses, right)
        if time.monotonic() - saved_s > SAVE_EVERY_S:
            _save(full, optimiser, out, words)
            saved_s = time.monotonic()
    _save(full, optimiser, out, words)


def _report(step: int, minutes: float, losses: Tensor, right: Tensor) -> None:
    shares = " ".join(f"{name}={share:.2f}" for name, share in zip(TASKS, right.tolist(), strict=True))
    text = "trained step=%d minutes=%.1f patches=%.3f captions=%.3f answers=%.3f mentions=%.3f %s"
    log.info(text, step, minutes, *losses.tolist(), shares)


def _save(full: Losses, optimiser: Optimiser, out: Path, words: Sequence[str]) -> None:
    with torch.no_grad():
        for weight, master in zip(full.parameters(), optimiser.masters(), strict=True):
            weight.copy_(master)
    model: BlipForQuestionAnswering = full.model
    save_checkpoint(model, out, words)
    save_model(full, str(out / TRAINING_NAME))


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m export.demo.train", description="Train the demo model from nothing."
    )
    parser.add_argument("out", type=Path, help="checkpoint folder to write; an older one is replaced")
    parser.add_argument("--minutes", type=minutes, default=60.0, help="training time (default: %(default)s)")
    parser.add_argument(
        "--seed", type=whole(0), default=1, help="of the weights and of the scenes (default: %(default)s)"
    )
    parser.add_argument("--threads", type=whole(1), default=2, help="of the trainer; drawing takes a part of one more")
    parser.add_argument("--start", type=Path, help="checkpoint to go on from (default: from nothing)")
    parser.add_argument(
        "--cool-down",
        type=share,
        default=COOL_DOWN_SHARE,
        help="share of the time in which the rate falls to nothing; 0 to go on another day (default: %(default)s)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    patch_phase = PATCH_PHASE_SHARE if arguments.start is None else 0.0
    schedule = Schedule(arguments.minutes, patch_phase, arguments.cool_down)
    scenes = batches(RandomBatches(BATCH_SCENES, arguments.seed))
    train(scenes, DEMO_WORDS, arguments.out, schedule, arguments.start)


if __name__ == "__main__":
    main()
