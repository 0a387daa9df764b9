"""What training minimises: the losses of patches, captions and answers, in one graph that `torch.compile` can take.

The texts of one scene share its image states: its questions lie side by side in one row, kept apart by block masks, so
that the image keys and values of each layer are computed once a scene and not once a question.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import BlipForQuestionAnswering

from export.demo.checkpoint import HIDDEN, PAD_ID
from export.demo.data import ANSWER_TOKENS, QUESTION_TOKENS, QUESTIONS_PER_SCENE, Batch
from export.demo.targets import IGNORE, TASKS

MASKED = -1e4  # added to an attention score that must not count; fits BF16


class Losses(nn.Module):
    """A model and the patch head that only training has."""

    def __init__(self, model: BlipForQuestionAnswering) -> None:
        super().__init__()
        self.model: Any = model
        self.patches = nn.Linear(HIDDEN, sum(TASKS.values()))

    def forward(self, batch: Batch, *, texts: bool) -> tuple[Tensor, Tensor]:
        """Mean losses [patches, captions, answers], and the share right in each patch task [tasks].

        What the batch lacks has a loss of 0, and so have captions and answers without `texts`.
        """
        states = self.model.vision_model(pixel_values=batch.pixels).last_hidden_state  # [B, 1 + N, C]
        nothing = torch.zeros(())
        patches, right = nothing, torch.zeros(len(TASKS))
        if batch.patches is not None:
            patches, right = self._patch_loss(states, batch.patches)
        captions = answers = nothing
        if texts and batch.captions is not None and batch.caption_inputs is not None:
            captions = self._caption_loss(states, batch.captions, batch.caption_inputs)
        if texts:
            answers = self._answer_loss(states, batch)
        return torch.stack([patches, captions, answers]), right

    def _patch_loss(self, states: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Image states [B, 1 + N, C], targets [B, N, tasks] -> mean loss, and the share right of object patches."""
        scores = self.patches(states[:, 1:]).float().split(list(TASKS.values()), dim=-1)
        on_object = targets[:, :, 0] > 0
        loss, right = scores[0].new_zeros(()), []
        for task, score in enumerate(scores):
            target = targets[:, :, task]
            loss = loss + cross_entropy(score.flatten(0, 1), target.flatten(), ignore_index=IGNORE)
            hits = (score.argmax(-1) == target) & on_object
            right.append(hits.sum() / on_object.sum())
        return loss / len(TASKS), torch.stack(right)

    def _caption_loss(self, states: Tensor, captions: Tensor, inputs: Tensor) -> Tensor:
        """Image states [B, S, C] -> loss of each next token of the captions [B, T]."""
        length = captions.shape[1]
        causal = _additive(torch.ones(length, length, dtype=torch.bool).tril(), states)
        logits = self._decode(inputs, torch.arange(length)[None], causal[None, None], states, None)
        return _next_token_loss(logits, captions)

    def _answer_loss(self, states: Tensor, batch: Batch) -> Tensor:
        """Image states [B, S, C] -> loss of each next token of the answers [B, Q * T]."""
        real = batch.questions != PAD_ID  # [B, Q * Tq]
        question, answer = _owner(QUESTION_TOKENS), _owner(ANSWER_TOKENS)
        same = (question[:, None] == question[None]) & real[:, None]  # [B, Q * Tq, Q * Tq]
        asked = self.model.text_encoder(
            input_ids=batch.questions,
            position_ids=torch.arange(QUESTION_TOKENS).repeat(QUESTIONS_PER_SCENE)[None],
            attention_mask=_additive(same, states)[:, None],
            encoder_hidden_states=states,
        ).last_hidden_state
        steps = torch.arange(ANSWER_TOKENS).repeat(QUESTIONS_PER_SCENE)
        causal = (answer[:, None] == answer[None]) & (steps[:, None] >= steps[None])
        own = (answer[:, None] == question[None]) & real[:, None]  # [B, Q * Ta, Q * Tq]
        logits = self._decode(
            batch.answer_inputs,
            steps[None],
            _additive(causal, states)[None, None],
            asked,
            _additive(own, states)[:, None],
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


def _owner(tokens: int) -> Tensor:
    """Which text of a row each token belongs to. [Q * tokens]"""
    return torch.arange(QUESTIONS_PER_SCENE).repeat_interleave(tokens)


def _additive(seen: Tensor, like: Tensor) -> Tensor:
    """True where attention may look -> 0 there, `MASKED` elsewhere."""
    return torch.where(seen, 0.0, MASKED).to(like.dtype)


def _next_token_loss(logits: Tensor, tokens: Tensor) -> Tensor:
    """Logits [B, T, V] at the tokens [B, T]: mean loss of each token after the first, [PAD] left out."""
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), ignore_index=PAD_ID)
