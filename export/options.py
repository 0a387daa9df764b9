"""What the command line asks of an export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_app.model.manifest import Precision, Role, StagePrecision, Task, Thresholds


@dataclass(frozen=True)
class Options:
    """What the command line asks of an export; see `python -m export --help`."""

    precision: Precision
    stages: Mapping[Role, StagePrecision] = field(default_factory=dict)  # roles that are to have another precision
    name: str | None = None
    version: int | None = None  # None for the time of the export, as YYYYMMDDhhmmss in UTC
    tasks: tuple[Task, ...] | None = None
    caption_prompt: str | None = None
    question_start: int | None = None
    clean_question: bool = True
    beams: int = 1
    max_new_tokens: int = 20
    parity_pictures: int = 8
    force: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)
    quality_pictures: int = 64
    accept_quality: bool = False
    layer_search: bool = True
    image_px: int | None = None  # side of the pictures; None for the checkpoint's own
    merge_tokens: int = 0  # in each layer of the vision tower

    def precision_of(self, role: Role) -> StagePrecision:
        """What the graph of one role is to be."""
        return self.stages.get(role, self.precision)

    def lossless(self) -> bool:
        """Whether every graph is FP32."""
        return {self.precision, *self.stages.values()} == {"fp32"}

    def reduces(self) -> bool:
        """Whether fewer image tokens may be asked for than the checkpoint has."""
        return self.image_px is not None or self.merge_tokens > 0

    def needs_calibration(self) -> bool:
        """Whether a graph may have to be calibrated; the decoder's weights are compressed without."""
        return self.precision == "int8" or any(
            precision == "int8" and role != "decoder" for role, precision in self.stages.items()
        )
