"""The packed rows that training computes with have the loss of plain texts, one by one, through transformers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from edge_app.demo import world
from export.demo.checkpoint import PAD_ID, build_model
from export.demo.data import QUESTIONS_PER_SCENE, Batch, RandomBatches, to_batch
from export.demo.lengths import ANSWER_TOKENS, QUESTION_TOKENS
from export.demo.losses import Losses
from export.demo.targets import IGNORE, MENTIONS, TASKS

# FP32; measured on this batch: 2e-7 of losses around 4.6. With four questions a scene and no masks it was 8e-3.
TOLERANCE = 5e-6


@pytest.fixture(scope="module")
def losses() -> Losses:
    """An untrained model, its weights larger than at the start of training so that what is attended to matters."""
    torch.manual_seed(0)
    module = Losses(build_model()).eval()
    with torch.no_grad():
        for weight in module.model.parameters():
            weight.mul_(3 if weight.ndim == 2 else 1)
    return module


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Three drawn scenes with their questions, pixels in FP32."""
    drawn = to_batch(next(iter(RandomBatches(size=3, seed=5))))
    return replace(drawn, pixels=drawn.pixels.float())


def measured(losses: Losses, batch: Batch, *, texts: bool = True) -> tuple[list[float], Tensor]:
    with torch.inference_mode():
        values, right = losses(batch, texts=texts)
    return values.tolist(), right


def image_states(losses: Losses, batch: Batch, index: int) -> Tensor:
    """States of one picture, [1, S, C]."""
    states: Tensor = losses.model.vision_model(pixel_values=batch.pixels[index : index + 1]).last_hidden_state
    return states


def without_padding(row: Tensor) -> Tensor:
    """The tokens of a text as a batch of one, [1, T]."""
    return row[row != PAD_ID][None]


def summed(logits: Tensor, tokens: Tensor) -> tuple[float, int]:
    """Loss of each next token of one text, summed, and their number."""
    loss = cross_entropy(logits[0, : tokens.shape[1] - 1], tokens[0, 1:], reduction="sum")
    return loss.item(), tokens.shape[1] - 1


@torch.inference_mode()
def plain_caption_loss(losses: Losses, batch: Batch) -> float:
    """Each caption by itself, unpadded, through the decoder's own forward pass."""
    assert batch.captions is not None
    assert batch.caption_inputs is not None
    total, number = 0.0, 0
    for index, row in enumerate(batch.captions):
        tokens = without_padding(row)
        output = losses.model.text_decoder(
            input_ids=without_padding(batch.caption_inputs[index]),
            encoder_hidden_states=image_states(losses, batch, index),
        )
        loss, count = summed(output.logits, tokens)
        total, number = total + loss, number + count
    return total / number


@torch.inference_mode()
def plain_answer_loss(losses: Losses, batch: Batch) -> float:
    """Each question by itself, unpadded, through the encoder's and the decoder's own forward passes."""
    total, number = 0.0, 0
    for index in range(len(batch.pixels)):
        states = image_states(losses, batch, index)
        rows = (
            batch.questions[index].reshape(-1, QUESTION_TOKENS),
            batch.answers[index].reshape(-1, ANSWER_TOKENS),
            batch.answer_inputs[index].reshape(-1, ANSWER_TOKENS),
        )
        for question, answer, read in zip(*rows, strict=True):
            asked = losses.model.text_encoder(input_ids=without_padding(question), encoder_hidden_states=states)
            output = losses.model.text_decoder(
                input_ids=without_padding(read), encoder_hidden_states=asked.last_hidden_state
            )
            loss, count = summed(output.logits, without_padding(answer))
            total, number = total + loss, number + count
    return total / number


def test_packed_answers_have_the_loss_of_plain_ones(losses: Losses, batch: Batch) -> None:
    """Side by side in one row, questions and answers see no more than by themselves: the block masks hold."""
    values, _ = measured(losses, batch)
    assert values[2] == pytest.approx(plain_answer_loss(losses, batch), abs=TOLERANCE)


def test_padded_captions_have_the_loss_of_plain_ones(losses: Losses, batch: Batch) -> None:
    """Padding after a caption is neither seen nor judged."""
    values, _ = measured(losses, batch)
    assert values[1] == pytest.approx(plain_caption_loss(losses, batch), abs=TOLERANCE)


def test_mentions_are_judged_on_the_states_of_plain_questions(losses: Losses, batch: Batch) -> None:
    """The mean of both tasks over the words that name something, each question by itself through the encoder."""
    assert batch.mentions is not None
    judged: list[tuple[Tensor, Tensor]] = []  # scores and targets of each question's words
    with torch.inference_mode():
        for index in range(len(batch.pixels)):
            states = image_states(losses, batch, index)
            targets = batch.mentions[index].reshape(QUESTIONS_PER_SCENE, QUESTION_TOKENS, -1)
            rows = batch.questions[index].reshape(QUESTIONS_PER_SCENE, QUESTION_TOKENS)
            for question, target in zip(rows, targets, strict=True):
                tokens = without_padding(question)
                asked = losses.model.text_encoder(input_ids=tokens, encoder_hidden_states=states).last_hidden_state
                judged.append((losses.mentions(asked[0]), target[: tokens.shape[1]]))
    scores, targets = (torch.cat(parts) for parts in zip(*judged, strict=True))
    expected = []
    for task, score in enumerate(torch.split(scores, list(MENTIONS.values()), dim=-1)):
        named = targets[:, task] != IGNORE
        expected.append(cross_entropy(score[named], targets[named, task]).item())
    assert measured(losses, batch)[0][3] == pytest.approx(np.mean(expected), abs=TOLERANCE)


def test_the_order_of_a_pictures_questions_does_not_matter(losses: Losses, batch: Batch) -> None:
    """Turned round, each question keeps its answer and its loss."""

    def turned(rows: Tensor, length: int) -> Tensor:
        return rows.reshape(len(rows), QUESTIONS_PER_SCENE, length).flip(1).flatten(1)

    other = replace(
        batch,
        questions=turned(batch.questions, QUESTION_TOKENS),
        answers=turned(batch.answers, ANSWER_TOKENS),
        answer_inputs=turned(batch.answer_inputs, ANSWER_TOKENS),
    )
    assert measured(losses, other)[0][2] == pytest.approx(measured(losses, batch)[0][2], abs=TOLERANCE)


def test_answers_are_judged_by_the_truth_and_read_as_misread(losses: Losses, batch: Batch) -> None:
    """Another input and another truth each change the loss: neither stands for the other."""

    def changed(rows: Tensor) -> Tensor:
        """Every first word of an answer becomes another one."""
        answers = rows.clone().reshape(-1, ANSWER_TOKENS)
        answers[:, 1] = answers[:, 1] % 20 + 8
        return answers.reshape(rows.shape)

    plain = measured(losses, batch)[0][2]
    for other in (
        replace(batch, answer_inputs=changed(batch.answer_inputs)),
        replace(batch, answers=changed(batch.answers)),
    ):
        assert abs(measured(losses, other)[0][2] - plain) > 50 * TOLERANCE


def test_patch_loss_is_the_mean_over_tasks_of_what_they_judge(losses: Losses, batch: Batch) -> None:
    """Task by task over the patches that have a part in it, by hand from the head's scores."""
    assert batch.patches is not None
    with torch.inference_mode():
        states = losses.model.vision_model(pixel_values=batch.pixels).last_hidden_state[:, 1:]
        scores = losses.patches(states).split(list(TASKS.values()), dim=-1)
    expected, shares = [], []
    on_object = batch.patches[:, :, 0] > 0
    for task, score in enumerate(scores):
        target = batch.patches[:, :, task]
        chances = score.softmax(-1)
        judged = target != IGNORE
        picked = chances[judged].gather(-1, target[judged][:, None])
        expected.append(-picked.log().mean().item())
        shares.append((score.argmax(-1) == target)[on_object].float().mean().item())
    values, right = measured(losses, batch)
    assert values[0] == pytest.approx(np.mean(expected), abs=TOLERANCE)
    assert right.tolist() == pytest.approx(shares)


def test_heads_have_the_classes_of_all_tasks(losses: Losses) -> None:
    """One output a class: 9 + 7 + 8 + 8 + 6 + 12 + 12 + 6 + 2 * (9 + 7) + 6 = 106; of mentions 7 + 7 = 14."""
    assert losses.patches.out_features == sum(TASKS.values()) == 106
    assert losses.mentions.out_features == sum(MENTIONS.values()) == 14
    assert TASKS["colour"] == 1 + len(world.COLOURS)


def test_first_phase_looks_at_patches_alone(losses: Losses, batch: Batch) -> None:
    """Without texts all that is about them counts nothing, and the patches as much as with them."""
    without, with_texts = measured(losses, batch, texts=False)[0], measured(losses, batch)[0]
    assert without == [pytest.approx(with_texts[0], abs=TOLERANCE), 0, 0, 0]


def test_what_a_batch_lacks_counts_nothing(losses: Losses, batch: Batch) -> None:
    """Pictures with questions alone have a loss of answers alone, the same as with all the rest."""
    questions_only = replace(batch, patches=None, captions=None, caption_inputs=None, mentions=None)
    values, right = measured(losses, questions_only)
    assert values == [0, 0, pytest.approx(measured(losses, batch)[0][2], abs=TOLERANCE), 0]
    assert right.tolist() == [0] * len(TASKS)


def test_every_weight_learns(batch: Batch) -> None:
    """One pass back reaches all weights of the model and the patch head, but the poolers that nothing reads."""
    torch.manual_seed(0)
    module = Losses(build_model())
    values, _ = module(batch, texts=True)
    values.sum().backward()
    idle = [name for name, weight in module.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert [name for name in idle if "pooler" not in name] == []
