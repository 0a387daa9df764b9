"""Token merging (ToMe; Bolya et al. 2023, https://arxiv.org/abs/2210.09461) in a vision tower, without training.

Between attention and MLP of each layer the tokens that are most alike become one: a token at an even position is
proposed to the token at an odd position whose key is nearest to its own, and the best proposals are carried out. A
token knows how many patches it stands for (its size): means are weighted by it, and attention counts it as often as
that. The class token is never merged.

How many tokens a layer merges is fixed when the graph is made, so every shape in it is fixed; which ones, is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from export.families.vision_tower import LayerParts


def schedule(positions: int, layers: int, rate: int) -> tuple[int, ...]:
    """Tokens that each layer merges: `rate`, or the half of the patch tokens where that is fewer."""
    counts: list[int] = []
    for _ in range(layers):
        counts.append(min(rate, (positions - 1) // 2))
        positions -= counts[-1]
    return tuple(counts)


class Matching(nn.Module):
    """Which tokens become one. A module, so that its operations have a name of their own in the graph.

    They stay in floating point in an INT8 graph: NNCF quantises nothing that only serves a choice of the best.
    """

    def forward(self, keys: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Bipartite soft matching of the patch tokens.

        Args:
            keys: [B, heads, N, D]; their mean over the heads is what is compared.
            count: tokens to merge, at most (N - 1) // 2.

        Returns:
            kept [B, E - count], ascending, and merged [B, count]: indices into the E tokens at the positions 2, 4, ...
            target [B, count]: for each of `merged`, an index into the tokens at the positions 1, 3, ...
        """
        mean = keys.mean(dim=1)
        unit = mean / mean.norm(dim=-1, keepdim=True)
        # [B, E, D] @ [B, D, O] -> [B, E, O]; the class token, at position 0, is on neither side.
        likeness = torch.matmul(unit[:, 2::2], unit[:, 1::2].transpose(1, 2))
        best, nearest = likeness.max(dim=-1)
        order = best.argsort(dim=-1, descending=True)
        merged = order[:, :count]
        kept = order[:, count:].sort(dim=-1).values
        return kept, merged, nearest.gather(1, merged)


def merged_sums(states: Tensor, kept: Tensor, merged: Tensor, target: Tensor) -> Tensor:
    """[B, N, C] -> [B, N - count, C]: the class token, even tokens that are kept, odd ones with what came to them."""
    even, odd = states[:, 2::2], states[:, 1::2]
    arriving = even.gather(1, _wide(merged, states))
    return torch.cat(
        [states[:, :1], even.gather(1, _wide(kept, states)), odd.scatter_add(1, _wide(target, states), arriving)], dim=1
    )


class MergingLayer(LayerParts):
    """A layer of a BLIP vision encoder that merges `count` tokens."""

    def __init__(self, layer: Any, count: int) -> None:
        super().__init__(layer)
        self.matching = Matching()
        self.count = count

    def forward(self, states: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, C] and sizes [B, N, 1] -> [B, N - count, C] and sizes [B, N - count, 1].

        Attention is proportional: adding log(size) to a score counts a token as often as there are patches in it,
        exp(x + log s) = s exp(x).
        """
        attended, keys = self.self_attn(self.layer_norm1(states), sizes.log().transpose(1, 2).unsqueeze(1))
        states = states + attended
        if self.count:
            kept, merged, target = self.matching(keys, self.count)
            # [B, N, C + 1] -> [B, N - count, C + 1]
            sums = merged_sums(torch.cat([states * sizes, sizes], dim=-1), kept, merged, target)
            sizes = sums[..., -1:]
            states = sums[..., :-1] / sizes
        return states + self.mlp(self.layer_norm2(states)), sizes


class MergingEncoder(nn.Module):
    """In the place of transformers' `BlipEncoder`.

    Attributes:
        rate: tokens that each layer is to merge.
        merged: tokens that all layers together merge.
    """

    def __init__(self, layers: Sequence[Any], counts: Sequence[int], *, rate: int) -> None:
        """`counts` are the tokens that each of `layers` merges."""
        super().__init__()
        self.layers = nn.ModuleList(starmap(MergingLayer, zip(layers, counts, strict=True)))
        self.rate = rate
        self.merged = sum(counts)

    def forward(self, inputs_embeds: Tensor, **_: Any) -> BaseModelOutput:
        """[B, N, C] -> [B, N - merged, C]; further arguments of transformers (what else to return) do not apply."""
        states, sizes = inputs_embeds, torch.ones_like(inputs_embeds[..., :1])
        for layer in self.layers:
            states, sizes = layer(states, sizes)
        return BaseModelOutput(last_hidden_state=states)


def merging_of(model: Any) -> MergingEncoder | None:
    """The merging encoder of a model's vision tower, None where it has transformers' own."""
    encoder = model.vision_model.encoder
    return encoder if isinstance(encoder, MergingEncoder) else None


def _wide(index: Tensor, states: Tensor) -> Tensor:
    """[B, T] -> [B, T, C]: the same index for every channel, as gather and scatter want it."""
    return index.unsqueeze(-1).expand(-1, -1, states.shape[-1])
