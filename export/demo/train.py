"""Train the demo model: `python -m export.demo.train OUT [--minutes M] [--seed S] [--threads N] [--start CHECKPOINT]`.

Two phases share the time. First the vision tower alone names the colour, shape and place of every patch, which the
renderer knows; then the whole model captions and answers, the patches going on as a side task, so that the text side
learns from states that already mean something. (Captions alone, from the first step, took 40 minutes to reach a
precision of 0.64; after 7 minutes of patches they were at 0.94 in 15.) The head that names patches is dropped at the
end.

The schedule follows the clock, not the number of steps: a slower machine trains less but ends as cool.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import BlipForQuestionAnswering

from edge_app.demo import world
from export.demo.checkpoint import HIDDEN, IMAGE_PX, PAD_ID, PATCH_PX, build_model, save_checkpoint
from export.demo.data import QUESTIONS_PER_SCENE, Batch, batches

PATCHES_A_SIDE = IMAGE_PX // PATCH_PX
BATCH_SCENES = 64
PATCH_PHASE_SHARE = 0.3  # of the time
PATCH_WEIGHT = 0.5  # of the patches' loss in the second phase
WARM_UP_STEPS = 100
COOL_DOWN_SHARE = 0.4  # of the time, at the end, in which the rate falls to nothing
RATE = 1e-3
WEIGHT_DECAY = 0.05
GRADIENT_NORM = 1.0
SAVE_EVERY_S = 300.0
LOG_EVERY_STEPS = 50

log = logging.getLogger("export.demo.train")


class PatchHead(nn.Module):
    """Names colour, shape and place of each patch, apart from each other so that pairs never seen stay possible.

    The place is asked because nothing else in the first phase needs it: without it the final states forgot where they
    came from, and captions named the right objects (0.97) in any order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.colour = nn.Linear(HIDDEN, 1 + len(world.COLOURS))
        self.shape = nn.Linear(HIDDEN, 1 + len(world.SHAPES))
        self.column = nn.Linear(HIDDEN, PATCHES_A_SIDE)
        self.row = nn.Linear(HIDDEN, PATCHES_A_SIDE)

    def loss(self, image_states: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Image states [B, 1 + N, C] -> mean loss, and the share of object patches named right in both."""
        patches = image_states[:, 1:]  # position 0 is the class token
        colours, shapes = self.colour(patches).float(), self.shape(patches).float()
        loss = cross_entropy(colours.flatten(0, 1), batch.patch_colours.flatten())
        loss = loss + cross_entropy(shapes.flatten(0, 1), batch.patch_shapes.flatten())
        places = torch.arange(PATCHES_A_SIDE**2).expand(len(patches), -1)  # [B, N], row by row
        loss = loss + cross_entropy(self.column(patches).float().flatten(0, 1), (places % PATCHES_A_SIDE).flatten())
        loss = loss + cross_entropy(self.row(patches).float().flatten(0, 1), (places // PATCHES_A_SIDE).flatten())
        right = (colours.argmax(-1) == batch.patch_colours) & (shapes.argmax(-1) == batch.patch_shapes)
        return loss, right[batch.patch_colours > 0].float().mean()


class Optimiser:
    """AdamW with warm-up and cool-down; weight decay on matrices only."""

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._weights = [weight for module in modules for weight in module.parameters()]
        groups = [
            {"params": [weight for weight in self._weights if weight.ndim >= 2], "weight_decay": WEIGHT_DECAY},
            {"params": [weight for weight in self._weights if weight.ndim < 2], "weight_decay": 0.0},
        ]
        self._adamw = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.98), fused=True)
        self._steps = 0

    def step(self, loss: Tensor, time_share: float) -> None:
        """One update at this share (0..1) of the training time."""
        self._steps += 1
        factor = min(1.0, self._steps / WARM_UP_STEPS, (1 - time_share) / COOL_DOWN_SHARE)
        for group in self._adamw.param_groups:
            group["lr"] = RATE * max(factor, 0.0)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._weights, GRADIENT_NORM)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)


def text_loss(model: BlipForQuestionAnswering, image_states: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Caption and answer losses of a batch, the mean over tokens of each."""
    caption = _decoder_loss(model, batch.caption_inputs, batch.captions, image_states, None)
    repeated = image_states.repeat_interleave(QUESTIONS_PER_SCENE, dim=0)  # [B, N, C] -> [B * Q, N, C]
    mask = (batch.questions != PAD_ID).long()
    question_states = model.text_encoder(
        input_ids=batch.questions, attention_mask=mask, encoder_hidden_states=repeated
    ).last_hidden_state
    return caption, _decoder_loss(model, batch.answer_inputs, batch.answers, question_states, mask)


def _decoder_loss(
    model: BlipForQuestionAnswering, inputs: Tensor, tokens: Tensor, memory: Tensor, mask: Tensor | None
) -> Tensor:
    """Loss of each next token: inputs and true tokens [B, T], memory [B, S, C], its mask [B, S]."""
    labels = tokens.masked_fill(tokens == PAD_ID, -100)
    output = model.text_decoder(
        input_ids=inputs, encoder_hidden_states=memory, encoder_attention_mask=mask, labels=labels
    )
    loss: Tensor = output.loss
    return loss


def train(out: Path, minutes: float, seed: int, start: Path | None = None) -> None:
    """Train for `minutes` and leave the checkpoint in `out`, written anew every few minutes on the way.

    `start` is a checkpoint to go on from, past the first phase; without it the model starts from nothing.
    """
    torch.manual_seed(seed)
    model: Any = build_model() if start is None else BlipForQuestionAnswering.from_pretrained(start)
    head = PatchHead()
    patch_phase_share = PATCH_PHASE_SHARE if start is None else 0.0
    optimiser = Optimiser((model.train(), head))
    started_s = saved_s = time.monotonic()
    step = 0
    with tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}<{remaining} {postfix}") as progress:
        for batch in batches(BATCH_SCENES, seed):
            share = (time.monotonic() - started_s) / (60 * minutes)
            if share >= 1:
                break
            with torch.autocast("cpu", torch.bfloat16):
                image_states = model.vision_model(pixel_values=batch.pixels).last_hidden_state
                patch_loss, patches_right = head.loss(image_states, batch)
                losses = {"patch": patch_loss}
                if share < patch_phase_share:
                    total = patch_loss
                else:
                    losses["caption"], losses["answer"] = text_loss(model, image_states, batch)
                    total = losses["caption"] + losses["answer"] + PATCH_WEIGHT * patch_loss
            optimiser.step(total, share)
            step += 1
            progress.update(100 * share - progress.n)
            if step % LOG_EVERY_STEPS == 0:
                figures = {name: round(loss.item(), 3) for name, loss in losses.items()}
                progress.set_postfix(figures)
                log.info(
                    "trained step=%d minutes=%.1f patches_right=%.3f %s",
                    step,
                    share * minutes,
                    patches_right.item(),
                    " ".join(f"{name}={value}" for name, value in figures.items()),
                )
            if time.monotonic() - saved_s > SAVE_EVERY_S:
                save_checkpoint(model, out)
                saved_s = time.monotonic()
    save_checkpoint(model, out)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m export.demo.train", description="Train the demo model from nothing."
    )
    parser.add_argument("out", type=Path, help="checkpoint folder to write; an older one is replaced")
    parser.add_argument("--minutes", type=float, default=60.0, help="training time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the weights and of the scenes (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of the trainer; drawing takes a part of one more")
    parser.add_argument("--start", type=Path, help="checkpoint to go on from (default: from nothing)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    torch.set_num_threads(arguments.threads)
    train(arguments.out, arguments.minutes, arguments.seed, arguments.start)


if __name__ == "__main__":
    main()
