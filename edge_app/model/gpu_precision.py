"""The precision of each graph on a GPU: FP16 as a rule, FP32 where FP16 would overflow or was measured to be worse.

FP16 is what a GPU is fast in, and ends at 65,504. On the CPU every graph is computed in FP32 whatever stands here.
"""

from __future__ import annotations

from typing import Literal

from edge_app.model.manifest import Manifest, Role

GpuPrecision = Literal["auto", "f16", "f32"]

# In standard deviations of the logits, as the golden sample is judged. The demo bundle differs by 0.03 from the CPU's
# record on an emulated iGPU, whatever the precision; logits that correlate 0.976 with it, as was reported of INT8
# graphs in FP16, differ by 0.22 on average, and 0.999 is 0.045. The golden sample takes the largest of a few dozen, two
# to three times that.
WELL_ABOVE = 0.1
# Below this ratio FP32 would cost time and mend little, the cause being another one: random weights, which amplify any
# rounding, gave a BLIP-base 0.289 in FP16 and 0.192 in FP32.
TIMES_ABOVE = 2.0


def f32_roles(wanted: GpuPrecision, manifest: Manifest, measured: frozenset[Role] = frozenset()) -> frozenset[Role]:
    """The graphs to compute in FP32 where they are on a GPU.

    Args:
        wanted: `model.gpu_precision`; "f16" and "f32" are for all graphs, whatever is known of them.
        manifest: names the graphs whose values do not fit FP16.
        measured: those that `edge-app bench --tune` found better in FP32.
    """
    match wanted:
        case "auto":
            return manifest.f32_on_gpu | measured
        case "f16":
            return frozenset()
        case "f32":
            return frozenset(manifest.roles)


def is_f32_better(f16_difference: float, f32_difference: float) -> bool:
    """Whether the golden sample asks for FP32: each is a largest logit difference, in standard deviations."""
    return f16_difference > WELL_ABOVE and f16_difference > TIMES_ABOVE * f32_difference
