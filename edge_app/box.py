"""A part of a picture: left, top, right, bottom as fractions of it."""

from __future__ import annotations


def has_area(box: tuple[float, float, float, float]) -> bool:
    """Whether `box` lies within the picture and is neither empty nor turned over."""
    left, top, right, bottom = box
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1
