"""What training minimises: the losses of patches, captions and answers, in one graph that `torch.compile` can take.

The texts of one scene share its image states: its questions lie side by side in one row, kept apart by block masks, so
that the image keys and values of each layer are computed once a scene and not once a question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import BlipForQuestionAnswering

from export.demo.checkpoint import HIDDEN, PAD_ID
from export.demo.data import QUESTIONS_PER_SCENE, Batch
from export.demo.lengths import ANSWER_TOKENS, QUESTION_TOKENS
from export.demo.targets import IGNORE, MENTIONS, TASKS

MASKED = -1e4  # added to an attention score that must not count; fits BF16


class Losses(nn.Module):
    """A model, and the heads for patches and mentions that only training has."""

    def __init__(self, model: BlipForQuestionAnswering) -> None:
        super().__init__()
        self.model: Any = model
        self.patches = nn.Linear(HIDDEN, sum(TASKS.values()))
        self.mentions = nn.Linear(HIDDEN, sum(MENTIONS.values()))
        decoder: Any = model.text_decoder.bert
        for layer in decoder.encoder.layer:
            layer.crossattention.self.register_forward_pre_hook(_mind_the_mask, with_kwargs=True)

    def forward(self, batch: Batch, *, texts: bool) -> tuple[Tensor, Tensor]:
        """Mean losses [patches, captions, answers, mentions], and the share right in each patch task [tasks].

        What the batch lacks has a loss of 0, and so has all but the patches without `texts`.
        """
        states = self.model.vision_model(pixel_values=batch.pixels).last_hidden_state  # [B, 1 + N, C]
        nothing = torch.zeros(())
        patches, right = nothing, torch.zeros(len(TASKS))
        if batch.patches is not None:
            patches, right = self._patch_loss(states, batch.patches)
        if not texts:
            return torch.stack([patches, nothing, nothing, nothing]), right
        captions = mentions = nothing
        if batch.captions is not None and batch.caption_inputs is not None:
            captions = self._caption_loss(states, batch.captions, batch.caption_inputs)
        asked = self._ask(states, batch.questions)
        if batch.mentions is not None:
            mentions = _tasks_loss(self.mentions(asked), batch.mentions, MENTIONS)
        return torch.stack([patches, captions, self._answer_loss(asked, batch), mentions]), right

    def _patch_loss(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Image states [B, 1 + N, C], targets [B, N, tasks] -> mean loss, and the share right of object patches."""
        scores = self.patches(states[:, 1:])
        on_object = targets[:, :, 0] > 0
        right = [
            ((score.argmax(-1) == targets[:, :, task]) & on_object).sum() / on_object.sum()
            for task, score in enumerate(scores.split(list(TASKS.values()), dim=-1))
        ]
        return _tasks_loss(scores, targets, TASKS), torch.stack(right)

    def _caption_loss(self, states: Tensor, captions: Tensor, inputs: Tensor) -> Tensor:
        """Image states [B, S, C] -> loss of each next token of the captions [B, T]."""
        length = captions.shape[1]
        causal = _additive(torch.ones(length, length, dtype=torch.bool).tril(), states)
        logits = self._decode(inputs, torch.arange(length)[None], causal[None, None], states, None)
        return _next_token_loss(logits, captions)

    def _ask(self, states: Tensor, questions: Tensor) -> Tensor:
        """Image states [B, S, C], questions [B, Q * Tq] -> question states [B, Q * Tq, C]."""
        owner = _owner(QUESTION_TOKENS)
        same = (owner[:, None] == owner[None]) & (questions != PAD_ID)[:, None]  # [B, Q * Tq, Q * Tq]
        asked: Tensor = self.model.text_encoder(
            input_ids=questions,
            position_ids=torch.arange(QUESTION_TOKENS).repeat(QUESTIONS_PER_SCENE)[None],
            attention_mask=_additive(same, states)[:, None],
            encoder_hidden_states=states,
        ).last_hidden_state
        return asked

    def _answer_loss(self, asked: Tensor, batch: Batch) -> Tensor:
        """Question states [B, Q * Tq, C] -> loss of each next token of the answers [B, Q * Ta]."""
        question, answer = _owner(QUESTION_TOKENS), _owner(ANSWER_TOKENS)
        steps = torch.arange(ANSWER_TOKENS).repeat(QUESTIONS_PER_SCENE)
        causal = (answer[:, None] == answer[None]) & (steps[:, None] >= steps[None])
        own = (answer[:, None] == question[None]) & (batch.questions != PAD_ID)[:, None]  # [B, Q * Ta, Q * Tq]
        logits = self._decode(
            batch.answer_inputs,
            steps[None],
            _additive(causal, asked)[None, None],
            asked,
            _additive(own, asked)[:, None],
        )
        rows = logits.reshape(-1, ANSWER_TOKENS, logits.shape[-1])  # [B * Q, T, V]
        return _next_token_loss(rows, batch.answers.reshape(-1, ANSWER_TOKENS))

    def _decode(self, tokens: Tensor, positions: Tensor, mask: Tensor, memory: Tensor, sight: Tensor | None) -> Tensor:
        """Tokens [B, T], self-attention mask [1, 1, T, T], memory [B, S, C], mask on it -> logits [B, T, V]."""
        decoder = self.model.text_decoder
        states = decoder.bert(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            encoder_hidden_states=memory,
            encoder_attention_mask=sight,
        ).last_hidden_state
        logits: Tensor = decoder.cls(states)
        return logits


def _mind_the_mask(
    _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Let a cross-attention see its mask: as of transformers 5.23 it is handed over under a name that is not read.

    Without it every answer would attend to all questions of its scene and could not know which one is its own.
    """
    return args, {**kwargs, "encoder_attention_mask": kwargs["attention_mask"]}


def _tasks_loss(scores: Tensor, targets: Tensor, tasks: Mapping[str, int]) -> Tensor:
    """Scores [B, places, classes of all tasks], targets [B, places, tasks] -> the mean of the tasks' losses."""
    total = torch.zeros(())
    for task, score in enumerate(torch.split(scores.float(), list(tasks.values()), dim=-1)):
        total = total + cross_entropy(score.flatten(0, 1), targets[:, :, task].flatten(), ignore_index=IGNORE)
    return total / len(tasks)


def _owner(tokens: int) -> Tensor:
    """Which text of a row each token belongs to. [Q * tokens]"""
    return torch.arange(QUESTIONS_PER_SCENE).repeat_interleave(tokens)


def _additive(seen: Tensor, like: Tensor) -> Tensor:
    """True where attention may look -> 0 there, `MASKED` elsewhere."""
    return torch.where(seen, 0.0, MASKED).to(like.dtype)


def _next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Logits [B, T, V] at the tokens [B, T]: mean loss of each token after the first, [PAD] left out."""
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), ignore_index=PAD_ID)
