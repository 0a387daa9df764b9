"""`manifest.json`: what a bundle says of itself. Written by the export, read and checked by the runtime.

The runtime knows *roles* (vision, caption_memory, question_memory, question_encoder, decoder), never model
families: everything it needs to know of a model stands here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

FORMAT_VERSION = 1
MOST_NEW_TOKENS = 256  # that any text can be asked for
MOST_PX = 4096  # of a side of the `pixels` tensor

Task = Literal["caption", "vqa"]
Precision = Literal["fp32", "fp16", "int8"]
StagePrecision = Literal["fp32", "fp16", "int8", "int4"]  # of one graph; int4: weights alone
Role = Literal["vision", "caption_memory", "question_memory", "question_encoder", "decoder"]

# A plain file name: no folder, no "..", nothing hidden.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Resampling = Literal["nearest", "bilinear", "bicubic", "lanczos"]  # filters of Pillow
Triple = tuple[float, float, float]

ROLES_OF_TASK: dict[Task, tuple[Role, ...]] = {
    "caption": ("vision", "caption_memory", "decoder"),
    "vqa": ("vision", "question_memory", "question_encoder", "decoder"),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Source(_Part):
    """Where the weights come from."""

    checkpoint: str = Field(description="hub id, or the name of the folder that was exported")
    revision: str | None = Field(default=None, description="hub commit, where there is one")
    licence: str | None = Field(default=None, description="as the checkpoint's model card states it")
    model_class: str = Field(description="transformers class that was loaded")


class ImageSpec(_Part):
    """How a picture becomes the `pixels` tensor [1, 3, height_px, width_px]."""

    height_px: int = Field(gt=0, le=MOST_PX)
    width_px: int = Field(gt=0, le=MOST_PX)
    mean: Triple = Field(description="per channel, RGB, of values in 0..1")
    std: Triple
    resampling: Resampling
    prefix_positions: int = Field(ge=0, description="image states before the patches (the class token)")
    patch_rows: int = Field(gt=0)
    patch_columns: int = Field(gt=0)
    checkpoint_px: int | None = Field(
        default=None, gt=0, description="side of the checkpoint's own pictures, where these are of another size"
    )
    merge_tokens: int = Field(default=0, ge=0, description="image tokens merged in each vision layer")
    merged_positions: int = Field(default=0, ge=0, description="patches without a state of their own: all that merged")

    @property
    def positions(self) -> int:
        """Number N of image states: prefix + rows x columns - merged (BLIP at 384 px: 1 + 24 x 24 = 577)."""
        return self.prefix_positions + self.patch_rows * self.patch_columns - self.merged_positions

    @property
    def reduced(self) -> bool:
        """Whether there are other image states than the checkpoint was trained with."""
        return self.checkpoint_px is not None or self.merged_positions > 0


class Tokens(_Part):
    """Special token ids."""

    start: int = Field(ge=0, description="first token of every decoded sequence")
    end: int = Field(ge=0)
    pad: int = Field(ge=0)
    question_start: int = Field(ge=0, description="replaces the first token of a question")
    yes: int | None = Field(default=None, description="the single token of the word 'yes', if there is one")
    no: int | None = None


class Generation(_Part):
    """Defaults of one task; the meaning of each is that of transformers' GenerationConfig."""

    beams: int = Field(default=1, ge=1, le=16)
    max_new_tokens: int = Field(default=20, ge=1, le=MOST_NEW_TOKENS)
    min_new_tokens: int = Field(default=0, ge=0, le=MOST_NEW_TOKENS)
    repetition_penalty: float = Field(default=1.0, gt=0)
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    prompt: str = Field(default="", description="caption prompt; it is removed from the text")


class TextSpec(_Part):
    """What the decoder and the question side take."""

    layers: int = Field(gt=0, le=1024)
    heads: int = Field(gt=0)
    head_size: int = Field(gt=0)
    vocabulary: int = Field(gt=0)
    max_positions: int = Field(gt=0, le=65536)
    max_question_tokens: int = Field(gt=2, le=1024, description="including the start and end token")
    question_layers: int = Field(ge=0, description="layers of the question encoder; 0 without the task vqa")
    clean_question: bool = Field(description="lower case and strip punctuation as BLIP's VQA data loader does")


class File(_Part):
    """One file of the bundle."""

    name: FileName
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class RoleFiles(_Part):
    """The OpenVINO IR of one role."""

    xml: File
    bin: File
    precision: StagePrecision


class GoldenText(_Part):
    """What one task gave on the golden picture when the bundle was made (on the CPU)."""

    question: str | None = None
    token_ids: tuple[int, ...] = Field(min_length=2)
    # For each decoded position the best token ids and their logits, best first.
    top_ids: tuple[tuple[int, ...], ...]
    top_logits: tuple[tuple[float, ...], ...]
    # Standard deviation of the logits over the vocabulary: the unit of `tolerance`.
    logit_std: float = Field(gt=0)


class Golden(_Part):
    """The golden sample: run at each start, compared with what the export recorded."""

    tolerance: float = Field(gt=0, le=4, description="largest logit difference, in units of logit_std")
    texts: dict[Task, GoldenText]


class Parity(_Part):
    """How one task compares with transformers' `generate` on the checkpoint itself."""

    samples: int = Field(ge=0, description="pictures compared")
    identical: int = Field(ge=0, description="of them, those with exactly the same token ids")
    token_agreement: float = Field(ge=0, le=1, description="share of tokens, position by position, that are the same")


class Loss(_Part):
    """What one task lost against the FP32 graphs: both ran the runtime's own loop over the same pictures."""

    texts: int = Field(gt=0, description="captions or answers compared")
    identical: int = Field(ge=0, description="of them, those with the same token ids")
    token_agreement: float = Field(ge=0, le=1, description="share of tokens, position by position, that are the same")
    mean_kl: float = Field(description="mean KL(FP32 || this) of the next token, nats, both fed FP32's tokens")
    picture_kl: float = Field(description="mean KL(FP32 || FP32 shown a blank picture): what the pictures are worth")
    sure_tokens: int = Field(ge=0, description="tokens of which FP32 was sure: probability above one half")
    sure_same: int = Field(ge=0, description="of them, those that are the best here too")
    worst_image: str = Field(description="picture with the largest mean KL")
    worst_kl: float
    answers: int = Field(default=0, ge=0, description="questions whose right answer is known")
    right: int = Field(default=0, ge=0)
    right_fp32: int = Field(default=0, ge=0)
    lost: int = Field(default=0, ge=0, description="answers that FP32 has right and this has not")
    unfinished: int = Field(default=0, ge=0, description="texts of FP32 that the limit of new tokens cut off")
    cider: float | None = Field(default=None, description="of the captions, where the pictures have references")
    cider_fp32: float | None = None
    bleu4: float | None = None
    bleu4_fp32: float | None = None


class Thresholds(_Part):
    """What a bundle may lose, for each of its tasks; docs/bundle.md has the measurements behind the defaults."""

    max_kl: float = Field(default=0.05, gt=0, description="largest mean_kl, nats a token")
    max_picture_loss: float = Field(default=0.1, gt=0, description="largest mean_kl as a share of picture_kl")
    min_sure_agreement: float = Field(default=0.97, ge=0, le=1, description="one token may always differ")
    min_identical: float = Field(default=0.0, ge=0, le=1, description="least share of identical texts")
    max_lost_answers: float = Field(default=0.02, ge=0, le=1, description="of the answers; one may always be lost")


class KeptLayers(_Part):
    """Layers left in FP32 because they cost the most, and what that changed."""

    layers: dict[Role, tuple[str, ...]]
    added_bytes: int = Field(description="size of the bundle, with them less without them")
    mean_kl_before: dict[Task, float] = Field(description="with every layer in 8 bits")


class GpuSpec(_Part):
    """What the export found out for GPUs, which compute in FP16 as a rule."""

    largest_activation: dict[Role, float] = Field(
        default_factory=dict, description="largest value in each FP32 graph, over the calibration pictures"
    )
    f32: tuple[Role, ...] = Field(default=(), description="graphs that a GPU has to compute in FP32")


class Quality(_Part):
    """Figures the export measured."""

    parity: dict[Task, Parity] = Field(default_factory=dict)
    pictures: Literal["folder", "held out", "calibration"] | None = Field(
        default=None, description="what `loss` was measured on: a folder of its own, or which part of the calibration's"
    )
    loss: dict[Task, Loss] = Field(default_factory=dict, description="empty for FP32, which loses nothing")
    reduction: dict[Task, Loss] = Field(
        default_factory=dict, description="against FP32 with all image tokens of the checkpoint, where there are fewer"
    )
    thresholds: Thresholds | None = None
    kept: KeptLayers | None = None
    accepted_below_thresholds: bool = Field(default=False, description="a person said --accept-quality")

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_bundles(cls, data: Any) -> Any:
        """Bundles made before there was a gate had the parity alone, as `caption_samples`, `caption_identical`, ..."""
        if not isinstance(data, dict) or not any(key.startswith(("caption_", "vqa_")) for key in data):
            return data
        parity: dict[str, dict[str, Any]] = {}
        for key, value in data.items():
            task, _, figure = key.partition("_")
            parity.setdefault(task, {})[figure] = value
        return {"parity": parity}


class Manifest(_Part):
    """The whole of `manifest.json`."""

    format_version: Literal[1]
    name: FileName
    family: str
    precision: Precision
    tasks: tuple[Task, ...] = Field(min_length=1)
    created: str = Field(description="UTC, RFC 3339")
    version: int = Field(
        default=0, ge=0, description="grows from release to release; 0 in bundles made before there was one"
    )
    source: Source
    image: ImageSpec
    tokens: Tokens
    text: TextSpec
    generation: dict[Task, Generation]
    roles: dict[Role, RoleFiles]
    tokenizer: File
    golden: Golden | None = None
    quality: Quality = Field(default_factory=Quality)
    gpu: GpuSpec | None = Field(default=None, description="left out where there were no pictures to measure with")
    tools: dict[str, str] = Field(description="versions of what made the bundle")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Illegal combinations are refused here, once, and not by an error in the middle of a caption."""
        if missing := [task for task in self.tasks if task not in self.generation]:
            raise ValueError(f"generation has no defaults for {missing[0]}")
        if self.golden and (missing := [task for task in self.tasks if task not in self.golden.texts]):
            raise ValueError(f"golden has no text for {missing[0]}")
        texts = self.golden.texts.values() if self.golden else ()
        recorded = [token for text in texts for row in (text.token_ids, *text.top_ids) for token in row]
        for token in [*self.tokens.model_dump(exclude_none=True).values(), *recorded]:
            if not 0 <= token < self.text.vocabulary:
                raise ValueError(f"token id {token} is not in the vocabulary of {self.text.vocabulary}")
        if self.image.merged_positions >= self.image.patch_rows * self.image.patch_columns:
            raise ValueError(f"image.merged_positions {self.image.merged_positions} leaves no patch")
        if min(self.image.std) <= 0:
            raise ValueError(f"image.std {list(self.image.std)} must be positive")
        if self.gpu and (absent := [role for role in self.gpu.f32 if role not in self.roles]):
            raise ValueError(f"gpu.f32 names {absent[0]}, of which there is no graph")
        return self

    @property
    def f32_on_gpu(self) -> frozenset[Role]:
        """The graphs that overflow FP16."""
        return frozenset(self.gpu.f32) if self.gpu else frozenset()

    def files(self) -> tuple[File, ...]:
        """Every file of the bundle but the manifest itself."""
        return (self.tokenizer, *(part for role in self.roles.values() for part in (role.xml, role.bin)))
