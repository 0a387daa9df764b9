"""A region of interest as a mask over the image's positions: a further region of a frame costs only decoding.

Position 0 is the class token, then the patches follow row by row. The states are already mixed over the whole frame, so
what lies outside a region leaks in a little; a crop is sharper, and costs a vision pass.

Where tokens are merged, patches from anywhere share a state, different ones in every frame: there a region would have
no mask of its own, and what is outside would not leak in a little but be there whole. So it is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_app.box import has_area
from edge_app.errors import BadRequestError
from edge_app.model.kv_cache import MASKED
from edge_app.model.manifest import ImageSpec

# A rectangle (left, top, right, bottom) in fractions 0..1 of the frame.
Region = tuple[float, float, float, float]


def image_mask(region: Region, spec: ImageSpec) -> NDArray[np.float32]:
    """Additive mask [1, 1, 1, N]: 0 for the class token and every patch that `region` touches.

    Raises:
        BadRequestError: the region has no area, or reaches outside the frame, or the bundle knows no regions.
    """
    if spec.merged_positions:
        raise BadRequestError(
            "This bundle merges image tokens, so it cannot look at a part of the frame; leave out the "
            "region (of the question or the camera: a camera's `crop` works), or export without --merge-tokens."
        )
    left, top, right, bottom = region
    if not has_area(region):
        raise BadRequestError(
            f"The region {list(region)} is not left < right and top < bottom within 0..1; correct it."
        )
    touched = np.outer(_overlaps(spec.patch_rows, top, bottom), _overlaps(spec.patch_columns, left, right))
    visible = np.concatenate([np.ones(spec.prefix_positions, bool), touched.ravel()])
    return np.where(visible, np.float32(0), MASKED).reshape(1, 1, 1, -1)


def _overlaps(count: int, start: float, end: float) -> NDArray[np.bool_]:
    """[count]: which of `count` equal parts of 0..1 overlap start..end."""
    edges = np.arange(count + 1) / count
    overlap: NDArray[np.bool_] = (edges[1:] > start) & (edges[:-1] < end)
    return overlap
