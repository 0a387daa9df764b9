"""The three IRs of OpenVINO's public notebook "Visual Question Answering and Image Captioning using BLIP".

Its recipe: vision model, text encoder and text decoder are traced from transformers' own modules and saved with FP16
weights; the decoder takes the keys and values of the past as inputs and returns them longer by one, the picture's (or
the question's) states are an input of it too. For INT8 the vision model and the text encoder are quantised with
`nncf.quantize` for transformers, and the decoder's weights are compressed with `nncf.compress_weights`, because
quantising its activations was seen to cost accuracy.

What that costs and where: keys and values of the picture are projected anew from its states inside the decoder at every
token (16.3 GFLOP for 577 states of BLIP-base, against 0.25 for everything else of a token), and inside the text encoder
at every question. Nothing else of the graphs is slower than it has to be.

Adapted to transformers 5: the decoder takes a cache object, so a thin module makes one of the flat past; and masks that
would be all ones are left out, as transformers 5 itself drops them. The vision model keeps its one shape, which spares
OpenVINO the shape arithmetic that the notebook's traced graph does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import nncf
import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer
from transformers.cache_utils import DynamicCache, DynamicLayer, EncoderDecoderCache

from edge_app.model.device import core
from edge_app.model.image import to_pixels
from export.calibration import Calibration
from export.checkpoint import load
from export.convert import to_openvino
from export.families.blip import RoleSource
from tests.bench.public_way import image_spec

Weights = Literal["fp32", "fp16"]
Feed = dict[str, Any]

VISION, TEXT_ENCODER, TEXT_DECODER = "vision_model", "text_encoder", "text_decoder_with_past"


def convert(checkpoint: Path, out: Path, *, weights: Weights = "fp16") -> None:
    """Write the IRs of a checkpoint to the folder `out`; a captioning checkpoint has no text encoder.

    "fp32" is for tests alone: the tokens are then transformers' own.
    """
    model = load(str(checkpoint)).model
    out.mkdir(parents=True)
    for name, source in _sources(model):
        ov.save_model(to_openvino(source), out / f"{name}.xml", compress_to_fp16=weights == "fp16")


def quantise(converted: Path, checkpoint: Path, out: Path, calibration: Calibration) -> None:
    """Write the INT8 IRs made of those that `convert` wrote to the folder `converted`."""
    logging.getLogger("nncf").setLevel(logging.WARNING)
    out.mkdir(parents=True)
    feeds = list(_feeds(converted, checkpoint, calibration))
    for name in (VISION, TEXT_ENCODER):
        if (converted / f"{name}.xml").is_file():
            model = core().read_model(converted / f"{name}.xml")
            dataset = nncf.Dataset(feeds, lambda feed, name=name: feed[name])
            quantised = nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(feeds))
            ov.save_model(quantised, out / f"{name}.xml")
    decoder = core().read_model(converted / f"{TEXT_DECODER}.xml")
    ov.save_model(nncf.compress_weights(decoder), out / f"{TEXT_DECODER}.xml")


def _feeds(converted: Path, checkpoint: Path, calibration: Calibration) -> Iterator[dict[str, Feed]]:
    """For each calibration picture the inputs of the vision model and, with a question, of the text encoder."""
    image, tokenizer = image_spec(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
    vision = core().compile_model(converted / f"{VISION}.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for index, picture in enumerate(calibration.pictures()):
        pixels = to_pixels(picture, image)
        states = np.array(vision([pixels])[0])
        question = calibration.questions[index % len(calibration.questions)]
        asked = np.array([tokenizer(question)["input_ids"]], np.int64)
        yield {
            VISION: {"pixel_values": pixels},
            TEXT_ENCODER: {"input_ids": asked, "encoder_hidden_states": states},
        }


def _sources(model: Any) -> Iterator[tuple[str, RoleSource]]:
    """Name and traceable module of each part; example lengths differ, so that tracing cannot take one for another."""
    config = model.config
    side, width = config.vision_config.image_size, config.vision_config.hidden_size
    text = config.text_config
    pixels = torch.rand(1, 3, side, side)
    yield VISION, RoleSource(_Vision(model.vision_model), {"pixel_values": (pixels, (1, 3, side, side))}, ("states",))

    ids, states = torch.randint(1, text.vocab_size, (2, 4)), torch.rand(2, 6, width)
    inputs: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "input_ids": (ids, (-1, -1)),
        "encoder_hidden_states": (states, (-1, -1, width)),
    }
    if hasattr(model, "text_encoder"):
        yield TEXT_ENCODER, RoleSource(_TextEncoder(model.text_encoder), inputs, ("question_states",))
        # What the decoder attends to is then the question's states.
        inputs = {**inputs, "encoder_hidden_states": (torch.rand(2, 6, text.hidden_size), (-1, -1, text.hidden_size))}
    heads, size = text.num_attention_heads, text.hidden_size // text.num_attention_heads
    names = [f"past.{layer}.{kind}" for layer in range(text.num_hidden_layers) for kind in ("key", "value")]
    inputs |= {name: (torch.rand(2, heads, 3, size), (-1, heads, -1, size)) for name in names}
    outputs = ("logits", *(name.replace("past", "present") for name in names))
    yield TEXT_DECODER, RoleSource(_TextDecoder(model.text_decoder), inputs, outputs)


class _Vision(nn.Module):
    def __init__(self, vision: nn.Module) -> None:
        super().__init__()
        self.vision = vision

    def forward(self, pixels: Tensor) -> Tensor:
        """[1, 3, H, W] -> [1, N, C]."""
        states: Tensor = self.vision(pixel_values=pixels).last_hidden_state
        return states


class _TextEncoder(nn.Module):
    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, states: Tensor) -> Tensor:
        """[B, T], [B, N, C] -> [B, T, C]."""
        asked: Tensor = self.encoder(input_ids=ids, encoder_hidden_states=states).last_hidden_state
        return asked


class _TextDecoder(nn.Module):
    """The decoder with a flat past; keys and values of `states` are projected at every call."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, ids: Tensor, states: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """[B, T], [B, S, C], past [B, heads, P, D] -> logits [B, T, V], present [B, heads, P + T, D]."""
        own, picture = DynamicCache(), DynamicCache()
        layers = [_filled(key, value) for key, value in zip(past[::2], past[1::2], strict=True)]
        own.layers, picture.layers = [*layers], [_unremembered() for _ in layers]
        cache = EncoderDecoderCache(own, picture)
        result = self.decoder(input_ids=ids, encoder_hidden_states=states, cache=cache, use_cache=True, is_decoder=True)
        present = [tensor for layer in layers for tensor in (layer.keys, layer.values)]
        return (result.logits, *present)


def _filled(key: Tensor, value: Tensor) -> Any:
    layer: Any = DynamicLayer()  # type: ignore[no-untyped-call]
    layer.lazy_initialization(key, value)
    layer.keys, layer.values = key, value
    return layer


def _unremembered() -> Any:
    return _Unremembered()  # type: ignore[no-untyped-call]


class _Unremembered(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of the picture as they were just projected; there is nothing from before to put them after."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return key_states, value_states
