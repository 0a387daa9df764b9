"""BLIP (Li et al. 2022): `BlipForConditionalGeneration` and `BlipForQuestionAnswering` as role graphs.

The modules below hold the checkpoint's own layers and only change how attention is fed: keys and values of the image
and of the past come in as tensors, so that nothing is computed twice. Attention is written as matmul-softmax-matmul
with one input a layer; OpenVINO's fused attention op over stacked inputs takes three times as long a token on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import BlipForConditionalGeneration, BlipForQuestionAnswering

from edge_app.model.kv_cache import memory_names
from edge_app.model.manifest import Role, Task
from export.errors import ExportError
from export.families.token_merging import MergingEncoder, merging_of
from export.families.vision_tower import VisionEncoder

CLASSES: dict[str, type] = {
    "BlipForConditionalGeneration": BlipForConditionalGeneration,
    "BlipForQuestionAnswering": BlipForQuestionAnswering,
}

# BLIP's own captioning code always begins with this prompt; VQA checkpoints were never trained with it.
CAPTION_PROMPT = {"BlipForConditionalGeneration": "a picture of", "BlipForQuestionAnswering": ""}
MAX_QUESTION_TOKENS = 35  # as BLIP's VQA code truncates


@dataclass(frozen=True)
class RoleSource:
    """A role as a traceable module, with names and example values of its inputs.

    Attributes:
        module: takes the inputs in the order of `inputs`.
        inputs: name -> (example, partial shape; -1 where the length is free).
        outputs: names in order.
    """

    module: nn.Module
    inputs: dict[str, tuple[Tensor, tuple[int, ...]]]
    outputs: tuple[str, ...]


def tasks_of(model: Any) -> tuple[Task, ...]:
    """Tasks a checkpoint can serve.

    A VQA decoder can attend to image states directly and so caption, when they are as wide as its own; how well depends
    on its training.
    """
    config: Any = model.config
    if isinstance(model, BlipForConditionalGeneration):
        return ("caption",)
    same_width = config.text_config.encoder_hidden_size == config.text_config.hidden_size
    return ("vqa", "caption") if same_width else ("vqa",)


def roles(model: Any, tasks: Sequence[Task]) -> dict[Role, RoleSource]:
    """The roles that `tasks` need, from a loaded checkpoint in eval mode, FP32."""
    config = model.config
    side = config.vision_config.image_size
    decoder = model.text_decoder
    pixels = torch.rand(1, 3, side, side)
    states = torch.rand(1, _positions(model), config.vision_config.hidden_size)
    states_in = {"image_states": (states, tuple(states.shape))}

    found: dict[Role, RoleSource] = {
        "vision": RoleSource(_Vision(model.vision_model), {"pixels": (pixels, tuple(pixels.shape))}, ("image_states",))
    }
    if "caption" in tasks:
        layers = decoder.bert.encoder.layer
        found["caption_memory"] = RoleSource(_Memory(layers), states_in, tuple(memory_names(len(layers))))
    if "vqa" in tasks:
        encoder = model.text_encoder
        layers = encoder.encoder.layer
        names = [name.replace("memory", "image", 1) for name in memory_names(len(layers))]
        found["question_memory"] = RoleSource(_Memory(layers), states_in, tuple(names))
        found["question_encoder"] = _question_encoder(encoder, decoder, names, states.shape[1])
    found["decoder"] = _decoder(decoder)
    return found


def _positions(model: Any) -> int:
    """Image states of one picture: patches and the class token, less what is merged on the way."""
    vision, merging = model.config.vision_config, merging_of(model)
    return int((vision.image_size // vision.patch_size) ** 2 + 1 - (merging.merged if merging else 0))


def _question_encoder(encoder: Any, decoder: Any, image_names: Sequence[str], positions: int) -> RoleSource:
    heads, size = _head_shape(encoder.encoder.layer[0])
    vocabulary = encoder.config.vocab_size
    inputs: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "tokens": (torch.randint(1, vocabulary, (2, 5)), (-1, -1)),
        "token_mask": (torch.zeros(2, 1, 1, 5), (-1, 1, 1, -1)),
        "image_mask": (torch.zeros(1, 1, 1, positions), (1, 1, 1, positions)),
    }
    for name in image_names:
        inputs[name] = (torch.rand(1, heads, positions, size), (1, heads, positions, size))
    outputs = tuple(memory_names(len(decoder.bert.encoder.layer)))
    return RoleSource(_QuestionEncoder(encoder, decoder.bert.encoder.layer), inputs, outputs)


def _decoder(decoder: Any) -> RoleSource:
    layers = decoder.bert.encoder.layer
    heads, size = _head_shape(layers[0])
    names = memory_names(len(layers))
    # Example lengths differ from each other and from 1, so that tracing cannot take one for another.
    batch, width, capacity, length = 2, 3, 7, 5
    inputs: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "tokens": (torch.randint(1, decoder.config.vocab_size, (batch, width)), (-1, -1)),
        "positions": (torch.arange(width), (-1,)),
        "self_mask": (torch.zeros(1, 1, width, capacity + width), (1, 1, -1, -1)),
        "memory_mask": (torch.zeros(1, 1, 1, length), (-1, 1, 1, -1)),
    }
    for name in names:
        inputs[name.replace("memory", "past", 1)] = (torch.rand(batch, heads, capacity, size), (-1, heads, -1, size))
    for name in names:
        inputs[name] = (torch.rand(1, heads, length, size), (-1, heads, -1, size))
    outputs = ("logits", *(name.replace("memory", "present", 1) for name in names))
    return RoleSource(_Decoder(decoder), inputs, outputs)


def _head_shape(layer: Any) -> tuple[int, int]:
    attention = layer.attention.self
    return attention.num_attention_heads, attention.attention_head_size


def _split(states: Tensor, attention: Any) -> Tensor:
    """[B, T, heads x D] -> [B, heads, T, D]."""
    shape = (states.shape[0], states.shape[1], attention.num_attention_heads, attention.attention_head_size)
    return states.view(shape).transpose(1, 2)


def _keys_values(states: Tensor, attention: Any) -> tuple[Tensor, Tensor]:
    """[B, T, C] -> keys and values, each [B, heads, T, D]."""
    return _split(attention.key(states), attention), _split(attention.value(states), attention)


def _attend(states: Tensor, key: Tensor, value: Tensor, mask: Tensor, block: Any) -> Tensor:
    """One attention block with its residual and layer norm.

    [B, heads, T, D] @ [B or 1, heads, D, S] + mask -> [B, heads, T, S]; @ [B or 1, heads, S, D] -> [B, T, heads x D].
    """
    attention = block.self
    query = _split(attention.query(states), attention)
    scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(attention.attention_head_size) + mask
    context = torch.matmul(torch.softmax(scores, dim=-1), value)
    context = context.transpose(1, 2).reshape(states.shape[0], states.shape[1], attention.all_head_size)
    result: Tensor = block.output(context, states)
    return result


class _Vision(nn.Module):
    def __init__(self, vision: Any) -> None:
        super().__init__()
        self.embeddings = vision.embeddings
        self.merging = isinstance(vision.encoder, MergingEncoder)
        self.encoder = vision.encoder if self.merging else VisionEncoder(vision.encoder.layers)
        self.post_layernorm = vision.post_layernorm

    def forward(self, pixels: Tensor) -> Tensor:
        """[1, 3, H, W] -> [1, N, C]."""
        states = self.encoder(self.embeddings(pixels))
        normed: Tensor = self.post_layernorm(states.last_hidden_state if self.merging else states)
        return normed


class _Memory(nn.Module):
    """Cross-attention keys and values of every layer: [1, N, C] -> 2 x layers of [1, heads, N, D]."""

    def __init__(self, layers: Iterable[Any]) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(layer.crossattention.self for layer in layers)

    def forward(self, states: Tensor) -> tuple[Tensor, ...]:
        memory: list[Tensor] = []
        for attention in self.attentions:
            memory += _keys_values(states, attention)
        return tuple(memory)


class _QuestionEncoder(nn.Module):
    """Question tokens over the image's keys and values, then the decoder's projections of the result."""

    def __init__(self, encoder: Any, decoder_layers: Sequence[Any]) -> None:
        super().__init__()
        self.embeddings = encoder.embeddings
        self.layers = encoder.encoder.layer
        self.memory = _Memory(decoder_layers)

    def forward(self, tokens: Tensor, token_mask: Tensor, image_mask: Tensor, *image: Tensor) -> tuple[Tensor, ...]:
        states = self.embeddings(input_ids=tokens)
        for index, layer in enumerate(self.layers):
            key, value = _keys_values(states, layer.attention.self)
            states = _attend(states, key, value, token_mask, layer.attention)
            states = _attend(states, image[2 * index], image[2 * index + 1], image_mask, layer.crossattention)
            states = layer.feed_forward_chunk(states)
        memory: tuple[Tensor, ...] = self.memory(states)
        return memory


class _Decoder(nn.Module):
    """One pass of T tokens after `past`; returns logits and the keys and values of the T new positions only."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.embeddings = decoder.bert.embeddings
        self.layers = decoder.bert.encoder.layer
        self.head = decoder.cls

    def forward(
        self, tokens: Tensor, positions: Tensor, self_mask: Tensor, memory_mask: Tensor, *cache: Tensor
    ) -> tuple[Tensor, ...]:
        past, memory = cache[: len(cache) // 2], cache[len(cache) // 2 :]
        present: list[Tensor] = []
        states = self.embeddings(input_ids=tokens, position_ids=positions.unsqueeze(0))
        for index, layer in enumerate(self.layers):
            key, value = _keys_values(states, layer.attention.self)
            present += [key, value]
            all_keys = torch.cat([past[2 * index], key], dim=2)  # [B, heads, P, D] + [B, heads, T, D]
            all_values = torch.cat([past[2 * index + 1], value], dim=2)
            states = _attend(states, all_keys, all_values, self_mask, layer.attention)
            states = _attend(states, memory[2 * index], memory[2 * index + 1], memory_mask, layer.crossattention)
            states = layer.feed_forward_chunk(states)
        return (self.head(states), *present)


def check_supported(config: Any) -> None:
    """Raise ExportError for a BLIP this family cannot express."""
    if config.vision_config.image_size % config.vision_config.patch_size:
        raise ExportError(
            f"The image size {config.vision_config.image_size} is no multiple of the patch size "
            f"{config.vision_config.patch_size}; this checkpoint's config.json is wrong."
        )
