"""A BLIP that looks at fewer tokens: a smaller picture, tokens that are merged on the way, or both.

It is a transformers model again, of the same weights: what exports, runs or judges a BLIP takes it as it is.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from export.errors import ExportError
from export.families.token_merging import MergingEncoder, schedule


def reduced(model: Any, *, image_px: int, merge_tokens: int) -> Any:
    """A copy of `model` for pictures of `image_px`, which merges `merge_tokens` tokens in each vision layer.

    All weights but the position embeddings are the very tensors of `model`, so that the copy takes no memory.

    Raises:
        ExportError: the patches do not fill a picture of that size.
    """
    patch_px = model.config.vision_config.patch_size
    if image_px % patch_px:
        below = max(image_px // patch_px, 1) * patch_px
        raise ExportError(
            f"The image size {image_px} is no multiple of the checkpoint's patches of {patch_px} pixels; "
            f"give --image-size {below} or {below + patch_px}."
        )
    copy = deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})
    vision = copy.vision_model
    side = image_px // patch_px
    if image_px != model.config.vision_config.image_size:
        _resize(vision.embeddings, side, image_px)
        copy.config.vision_config.image_size = image_px
    if merge_tokens:
        layers = vision.encoder.layers
        vision.encoder = MergingEncoder(layers, schedule(side * side + 1, len(layers), merge_tokens), rate=merge_tokens)
    return copy


def _resize(embeddings: Any, side: int, image_px: int) -> None:
    """Position embeddings for side x side patches, as transformers makes them for `interpolate_pos_encoding=True`.

    They depend on no picture, so they are made once, and the graph holds them as if they had been trained.
    """
    positions = side * side + 1
    with torch.no_grad():
        like_patches = torch.empty(1, positions, embeddings.embed_dim)
        interpolated = embeddings.interpolate_pos_encoding(like_patches, image_px, image_px)
    embeddings.position_embedding = nn.Parameter(interpolated.contiguous(), requires_grad=False)
    embeddings.image_size, embeddings.num_patches, embeddings.num_positions = image_px, positions - 1, positions
