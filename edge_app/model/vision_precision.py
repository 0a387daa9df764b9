"""FP16 or FP32 for vision on a GPU, by the logits of the golden sample.

Texts would hide a difference that shows in other pictures; logits tell how far off the graphs are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from edge_app.errors import DeviceError
from edge_app.model.device import gpus_of
from edge_app.model.golden import verify
from edge_app.model.gpu_precision import is_f32_better
from edge_app.model.manifest import Manifest, Role
from edge_app.model.vlm import VisionLanguageModel

log = logging.getLogger(__name__)

Make = Callable[..., VisionLanguageModel]  # takes `gpu_f32`, the graphs in FP32


@dataclass(frozen=True)
class GoldenDifferences:
    """Largest logit differences from the golden sample, in standard deviations of the logits.

    Attributes:
        chosen: of the model that was chosen.
        vision_f16: with vision in FP16 on a GPU; None where that is not possible, or was refused.
        vision_f32: with vision in FP32 on a GPU; None where it was not tried, or was refused.
    """

    chosen: float
    vision_f16: float | None = None
    vision_f32: float | None = None


def better_vision(manifest: Manifest, picture_device: str, make: Make) -> tuple[VisionLanguageModel, GoldenDifferences]:
    """The model with vision in the better precision, checked with the golden sample.

    Args:
        manifest: of the bundle; the graphs that it names are in FP32 in any case.
        picture_device: where vision runs; on a CPU there is nothing to choose.
        make: compiles the model, with these graphs in FP32 on a GPU.

    Raises:
        DeviceError: it computes the golden sample in neither precision.
    """
    named = manifest.f32_on_gpu
    if "vision" in named or not gpus_of(picture_device):
        model = make(gpu_f32=named)
        return model, GoldenDifferences(verify(model))
    f16, f32 = _tried(make, named), _tried(make, named | {"vision"})
    if isinstance(f32, DeviceError):
        if isinstance(f16, DeviceError):
            raise f16
        return f16.model, GoldenDifferences(f16.difference, f16.difference)
    if isinstance(f16, DeviceError):
        return f32.model, GoldenDifferences(f32.difference, None, f32.difference)
    best = f32 if is_f32_better(f16.difference, f32.difference) else f16
    return best.model, GoldenDifferences(best.difference, f16.difference, f32.difference)


@dataclass(frozen=True)
class _Passed:
    model: VisionLanguageModel
    difference: float


def _tried(make: Make, f32: frozenset[Role]) -> _Passed | DeviceError:
    try:
        model = make(gpu_f32=f32)
        return _Passed(model, verify(model))
    except DeviceError as error:
        log.info("precision refused f32=%s reason=%r", ",".join(sorted(f32)) or "-", str(error))
        return error
