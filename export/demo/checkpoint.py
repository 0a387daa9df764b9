"""The demo checkpoint: a small BLIP in the very file layout of the public ones, so that one export serves both.

The weights load with `BlipForQuestionAnswering.from_pretrained`. Its text decoder is trained for two jobs: on the
question encoder's states it answers, directly on the image states it captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from edge_app.demo import questions

DEMO_WORDS: tuple[str, ...] = tuple(questions.vocabulary())
IMAGE_PX = 128
PATCH_PX = 16
HIDDEN = 192
HEADS = 6
VISION_LAYERS = 6
TEXT_LAYERS = 3

# The order gives the ids; [PAD] must be 0. [DEC] starts every decoded text, [SEP] ends it.
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]")
PAD_ID, CLS_ID, SEP_ID, DEC_ID = (SPECIAL_TOKENS.index(token) for token in ("[PAD]", "[CLS]", "[SEP]", "[DEC]"))

# What `write_checkpoint` leaves.
CHECKPOINT_NAMES = frozenset(
    {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
)

# OpenAI's CLIP statistics, as in every BLIP; RGB, of pixels scaled to 0..1.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def word_ids(words: Sequence[str] = DEMO_WORDS) -> dict[str, int]:
    """Token -> id: the special tokens, then every whole word of the model's language."""
    return {token: index for index, token in enumerate((*SPECIAL_TOKENS, *words))}


def build_tokenizer(words: Sequence[str] = DEMO_WORDS) -> Tokenizer:
    """A lower-casing WordPiece of whole words: `[CLS] text [SEP]`; a word it does not know becomes [UNK]."""
    tokenizer = Tokenizer(WordPiece(word_ids(words), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS_ID), ("[SEP]", SEP_ID)],
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def build_model(words: Sequence[str] = DEMO_WORDS) -> BlipForQuestionAnswering:
    """The untrained model; its widths agree so that the decoder can attend to image and question states alike."""
    text = {
        "vocab_size": len(word_ids(words)),
        "hidden_size": HIDDEN,
        "encoder_hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "projection_dim": HIDDEN,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": 64,
        "bos_token_id": DEC_ID,
        "eos_token_id": SEP_ID,
        "sep_token_id": SEP_ID,
        "pad_token_id": PAD_ID,
    }
    vision = {
        "hidden_size": HIDDEN,
        "intermediate_size": 4 * HIDDEN,
        "projection_dim": HIDDEN,
        "num_hidden_layers": VISION_LAYERS,
        "num_attention_heads": HEADS,
        "image_size": IMAGE_PX,
        "patch_size": PATCH_PX,
        "initializer_range": 0.02,  # the library's default, 1e-10, starts every state alike
    }
    return BlipForQuestionAnswering(BlipConfig(text_config=text, vision_config=vision, projection_dim=HIDDEN))


def write_checkpoint(model: BlipForQuestionAnswering, folder: Path, words: Sequence[str] = DEMO_WORDS) -> None:
    """Write model, tokenizer and image processor into `folder`: the files of `CHECKPOINT_NAMES`."""
    model.save_pretrained(folder)
    _save_tokenizer(folder, words)
    BlipImageProcessorPil(
        size={"height": IMAGE_PX, "width": IMAGE_PX}, image_mean=CLIP_MEAN, image_std=CLIP_STD, resample=3
    ).save_pretrained(folder)


def _save_tokenizer(folder: Path, words: Sequence[str]) -> None:
    fast = BertTokenizer(
        tokenizer_object=build_tokenizer(words),
        model_max_length=64,
        bos_token="[DEC]",
        do_lower_case=True,
        model_input_names=["input_ids", "attention_mask"],
    )
    fast.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in word_ids(words)), encoding="utf-8")
