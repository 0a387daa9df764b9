"""A camera frame becomes the `pixels` tensor, exactly as the checkpoint's processor makes it.

BLIP resizes with Pillow's bicubic filter (anti-aliased, aspect ratio not kept) on 8-bit values, then scales to 0..1
and normalises. OpenCV's cubic filter has no anti-aliasing and is off by up to 105 of 255, so Pillow does the resizing,
in strips side by side where there are cores for it: between two inferences they have nothing else to do.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
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

MOST_STRIPS = 4  # more are too short to be worth a thread
LEAST_STRIP_PX = 32


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
    size = (spec.height_px, spec.width_px)
    return _resize_in_strips(image, size, spec.resampling, _strips(image.shape[:2], size, spec.resampling))


@lru_cache(maxsize=16)
def _strips(size: tuple[int, int], new_size: tuple[int, int], resampling: str) -> int:
    """In how many strips frames of `size` (rows, columns) are resized: by all cores if that changes no byte, else 1.

    Pillow resizes rows and rounds, then columns. From release 13 on it begins with columns where it deems that less
    work, mostly in upright pictures. So it is asked, once a size: in noise another order shows in every fifth byte.
    """
    strips = min(MOST_STRIPS, len(os.sched_getaffinity(0)), min(*size, *new_size) // LEAST_STRIP_PX)
    if strips <= 1:
        return 1
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    whole, parts = (_resize_in_strips(noise, new_size, resampling, count) for count in (1, strips))
    return strips if np.array_equal(whole, parts) else 1


def _resize_in_strips(
    image: NDArray[np.uint8], new_size: tuple[int, int], resampling: str, strips: int
) -> NDArray[np.uint8]:
    """Each row resized by itself, then each column, in `strips` threads: Pillow lets go of Python's lock meanwhile."""
    height_px, width_px = new_size
    filter_ = _FILTERS[resampling]
    if strips == 1:
        return np.asarray(Image.fromarray(image).resize((width_px, height_px), filter_))

    def narrow(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [h, W, 3] -> [h, width_px, 3]
        return np.asarray(Image.fromarray(rows).resize((width_px, rows.shape[0]), filter_))

    def lower(columns: NDArray[np.uint8]) -> NDArray[np.uint8]:  # [H, w, 3] -> [height_px, w, 3]
        return np.asarray(Image.fromarray(columns).resize((columns.shape[1], height_px), filter_))

    # A new pool each time costs half a millisecond. In a kept one, Ctrl-C at the start of a thread leaves that thread
    # unknown to it, and nobody tells the thread to end: Python would wait for it for ever at exit.
    with ThreadPoolExecutor(strips, thread_name_prefix="resize") as pool:
        narrowed = np.concatenate(list(pool.map(narrow, np.array_split(image, strips))))
        return np.concatenate(list(pool.map(lower, np.array_split(narrowed, strips, axis=1))), axis=1)


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
