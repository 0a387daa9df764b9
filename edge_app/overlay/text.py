"""Text on a picture: measured, wrapped, cut with an ellipsis. Unicode through the fonts that OpenCV 5 carries.

They cover Latin, Greek, Cyrillic, Arabic, Hebrew, Chinese, Japanese and Korean; what they lack (emoji, Thai,
Devanagari) shows as a question mark. Right-to-left text keeps its logical order.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.mqtt.payloads import clean

ELLIPSIS = "…"
MAX_CHARS = 500  # more than any band holds; bounds the work on hostile text
MIN_SIZE_PX = 6
MEASURED = 512  # texts whose widths and lines are remembered: an overlay has about 30, and few of them change

Colour = tuple[int, int, int]  # BGR


@dataclass(frozen=True)
class Type:
    """How a text looks."""

    size_px: int
    """Height of a line's letters from the baseline up, accents included."""
    colour: Colour
    weight: int = 450
    """100 (thin) to 900 (black)."""

    @property
    def line_px(self) -> int:
        """Distance of two baselines."""
        return round(1.3 * self.size_px)


def readable(text: str) -> str:
    """`text` on one line without control, format and bidi characters, cut after MAX_CHARS characters.

    OpenCV must not see the raw text: a lone surrogate ends the process with a segmentation fault.
    """
    return _cut(clean(text[: 4 * MAX_CHARS]), MAX_CHARS)


@functools.lru_cache(MEASURED)
def width_px(text: str, type_: Type) -> int:
    """How wide a cleaned `text` is when drawn on one line."""
    return _measure_px(text, type_)


@functools.lru_cache(MEASURED)
def wrap(text: str, limit_px: int, max_lines: int, type_: Type) -> tuple[str, ...]:
    """Break a cleaned `text` into at most `max_lines` lines of at most `limit_px`; what is left becomes an ellipsis.

    Lines break at spaces; a word wider than a line, or a script without spaces, breaks between two characters. No
    line at all comes back where not even one character fits.
    """
    lines: list[str] = []
    rest = text
    while rest and len(lines) < max_lines:
        count = _longest_prefix(rest, lambda part: _measure_px(part, type_) <= limit_px)
        if count == len(rest):
            return (*lines, rest)
        if count == 0:
            break
        if len(lines) == max_lines - 1:
            count = _longest_prefix(rest, lambda part: _measure_px(part.rstrip() + ELLIPSIS, type_) <= limit_px)
            return (*lines, rest[:count].rstrip() + ELLIPSIS)
        # rest[count] is the first character that does not fit; a space there ends the line too.
        # An accent has no width, so it is never parted from its letter.
        space = rest.rfind(" ", 1, count + 1)
        end = space if space > 0 else count
        if end > 1 and _closes(rest[end]):  # it takes the character before it along
            end -= 1
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return tuple(lines)


def draw(area: NDArray[np.uint8], text: str, x_px: int, top_px: int, type_: Type) -> None:
    """Draw one line of cleaned `text` into `area` [H, W, 3] BGR, in place; nothing outside `area` is touched."""
    baseline = (x_px, top_px + type_.size_px)
    cv2.putText(area, text, baseline, type_.colour, _font(), type_.size_px, type_.weight)


@functools.cache
def _font() -> Any:
    # Built in: a variable Latin, Greek and Cyrillic face that falls back to a CJK one.
    return cv2.FontFace("sans")


def _closes(char: str) -> bool:
    """Whether `char` is a wide full stop, comma or closing bracket: no line of Chinese or Japanese begins with one."""
    return unicodedata.east_asian_width(char) in "WF" and unicodedata.category(char) in {"Po", "Pe", "Pf"}


def _measure_px(text: str, type_: Type) -> int:
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _font(), type_.size_px, type_.weight)
    return int(width)


def _longest_prefix(text: str, fits: Callable[[str], bool]) -> int:
    """The most characters from the start of `text` that `fits` accepts; binary search, since width only grows."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(text[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS
