"""A camera frame becomes the `pixels` tensor, exactly as the checkpoint's processor makes it.

BLIP resizes with Pillow's bicubic filter (anti-aliased, aspect ratio not kept) on 8-bit values, then scales to 0..1
and normalises. OpenCV's cubic filter has no anti-aliasing and is off by up to 105 of 255, so Pillow does the resizing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_app.errors import BadRequestError
from edge_app.model.manifest import ImageSpec, Triple

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def to_pixels(image: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """Resize, scale and normalise one frame.

    Args:
        image: [H, W, 3] BGR, as OpenCV delivers it.
        spec: the bundle's image section.

    Returns:
        [1, 3, spec.height_px, spec.width_px], RGB, normalised.

    Raises:
        BadRequestError: `image` is empty or not an [H, W, 3] array of bytes.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise BadRequestError(
            f"A frame must be a [height, width, 3] array of uint8 with at least one pixel, "
            f"this one is {list(image.shape)} of {image.dtype}; convert it first."
        )
    return normalise(resize(image, spec), spec)


def resize(image: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.uint8]:
    """[H, W, 3] -> [height_px, width_px, 3]; channel order is kept (the filter treats channels alike)."""
    if image.shape[:2] == (spec.height_px, spec.width_px):
        return image
    resized = Image.fromarray(image).resize((spec.width_px, spec.height_px), _FILTERS[spec.resampling])
    return np.asarray(resized)


def normalise(image: NDArray[np.uint8], spec: ImageSpec) -> NDArray[np.float32]:
    """BGR bytes [H, W, 3] -> normalised RGB floats [1, 3, H, W]: (x / 255 - mean) / std.

    A byte has 256 values, so the arithmetic is done once a channel and looked up.
    """
    table = _lookup(spec.mean, spec.std)
    pixels = np.empty((1, 3, *image.shape[:2]), np.float32)
    for channel in range(3):
        np.take(table[channel], image[:, :, 2 - channel], out=pixels[0, channel])  # RGB channel c is BGR channel 2 - c
    return pixels


@lru_cache(maxsize=4)
def _lookup(mean: Triple, std: Triple) -> NDArray[np.float32]:
    """[3, 256]: the normalised value of each byte, a channel."""
    levels = np.arange(256, dtype=np.float64) / 255
    table = (levels[None, :] - np.asarray(mean)[:, None]) / np.asarray(std)[:, None]
    rounded: NDArray[np.float32] = table.astype(np.float32)
    return rounded
