"""Draw what the system sees, says and suffers from on a picture. Pure: the same inputs give the same pixels.

Two bands, one along the top (state) and one along the bottom (caption, last question and answer), darken what is behind
them, so that white text reads on any picture. Everything scales with the picture; nothing between the bands changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_app.overlay_state import OverlayState
from edge_app.overlay_text import MIN_SIZE_PX, Colour, Type, draw, readable, width_px, wrap

__all__ = ["OverlayState", "placeholder", "render"]

DESIGN_HEIGHT_PX = 720  # the lengths below are pixels of a 1280x720 picture
MARGIN = 36  # 5 %: a television's overscan cuts no text
PADDING = 14  # between a band's edge and its text
GAP = 12  # between two blocks, and between two columns
BAND_DIVISOR = 4  # of the brightness behind a band: white text then has a contrast of at least 10:1

WHITE: Colour = (255, 255, 255)
GREY: Colour = (205, 205, 205)
BLUE: Colour = (255, 214, 160)
GREEN: Colour = (120, 230, 120)
AMBER: Colour = (90, 205, 255)
RED: Colour = (130, 130, 255)

OLD_FRAME_S = 2.0  # a live picture is younger
DOT = "● "


@dataclass(frozen=True)
class _Block:
    """Text on the left, wrapped; a short note on the right of its first line."""

    text: str
    type: Type
    max_lines: int
    note: str = ""
    note_type: Type | None = None


@dataclass(frozen=True)
class _Span:
    """A piece of a line that has its own colour."""

    text: str
    type: Type


def render(
    image: NDArray[np.uint8], state: OverlayState, *, now_s: float, captured_s: float | None
) -> NDArray[np.uint8]:
    """Return a copy of `image` [H, W, 3] BGR with the overlay on it.

    Args:
        image: the picture, of any size.
        state: what to say.
        now_s: `time.monotonic()`; ages are told relative to it.
        captured_s: when `image` was captured, on the same clock; None if it is no camera's picture.
    """
    picture = image.copy()
    height_px, picture_width_px = picture.shape[:2]
    page = _Page(picture, min(height_px, 0.75 * picture_width_px) / DESIGN_HEIGHT_PX)
    page.top(_status(page, state), _figures(page, state, now_s, captured_s), state.notice)
    page.bottom(_blocks(page, state, now_s))
    return picture


def placeholder(width_px: int = 1280, height_px: int = 720) -> NDArray[np.uint8]:
    """An empty dark picture, for a camera that has not given one yet."""
    return np.full((height_px, width_px, 3), (56, 48, 44), np.uint8)


class _Page:
    """A picture with a scale and two bands."""

    def __init__(self, picture: NDArray[np.uint8], scale: float) -> None:
        self._picture = picture  # [H, W, 3]
        self._scale = scale
        self._left_px = self.px(MARGIN)
        self._right_px = picture.shape[1] - self.px(MARGIN)

    def px(self, length: float) -> int:
        """A length on the 720-line design as whole pixels of this picture."""
        return max(1, round(length * self._scale))

    def type(self, size: float, colour: Colour, weight: int = 450) -> Type:
        """A type whose size is given on the 720-line design."""
        return Type(max(MIN_SIZE_PX, self.px(size)), colour, weight)

    def top(self, left: list[_Span], right: list[_Span], notice: str | None) -> None:
        """State on the left, figures on the right as far as there is room, a notice in lines of its own."""
        line_px = left[0].type.line_px
        lines: list[str] = []
        notice_type = self.type(22, AMBER)
        if notice:
            lines = wrap(readable(notice), self._right_px - self._left_px, 2, notice_type)
        height_px = 2 * self.px(PADDING) + line_px + len(lines) * notice_type.line_px
        area = self._band(0, height_px)
        y_px = self.px(PADDING)
        free_px = self._spans(area, left, self._left_px, self._right_px, y_px)
        right_px = self._right_px - sum(width_px(span.text, span.type) for span in right)
        if right_px >= free_px + self.px(GAP):
            self._spans(area, right, right_px, self._right_px, y_px)
        for number, line in enumerate(lines):
            draw(area, line, self._left_px, y_px + line_px + number * notice_type.line_px, notice_type)

    def bottom(self, blocks: list[_Block]) -> None:
        """Blocks one below the other, the last one ending at the lower edge."""
        note_px = max((width_px(block.note, block.note_type) for block in blocks if block.note_type), default=0)
        text_px = self._right_px - self._left_px - (note_px + self.px(GAP) if note_px else 0)
        laid = [(block, wrap(block.text, text_px, block.max_lines, block.type)) for block in blocks]
        content_px = sum(len(lines) * block.type.line_px for block, lines in laid)
        height_px = 2 * self.px(PADDING) + content_px + (len(blocks) - 1) * self.px(GAP)
        area = self._band(self._picture.shape[0] - height_px, self._picture.shape[0])
        y_px = self.px(PADDING)
        for block, lines in laid:
            if lines and block.note_type:
                # The note shares the first line's baseline, whatever its own size.
                note_y_px = y_px + block.type.size_px - block.note_type.size_px
                x_px = self._right_px - width_px(block.note, block.note_type)
                draw(area, block.note, x_px, note_y_px, block.note_type)
            for line in lines:
                draw(area, line, self._left_px, y_px, block.type)
                y_px += block.type.line_px
            y_px += self.px(GAP)

    def _band(self, first_px: int, end_px: int) -> NDArray[np.uint8]:
        """Darken the rows from `first_px` to `end_px` and return them as a view [rows, W, 3]."""
        area = self._picture[max(0, first_px) : end_px]
        area //= BAND_DIVISOR
        return area

    def _spans(self, area: NDArray[np.uint8], spans: list[_Span], x_px: int, end_px: int, y_px: int) -> int:
        """Draw spans one after the other, the last one cut at `end_px`; returns where the next would begin."""
        for span in spans:
            for line in wrap(span.text, end_px - x_px, 1, span.type):
                draw(area, line, x_px, y_px, span.type)
                x_px += width_px(line, span.type)
        return x_px


def _status(page: _Page, state: OverlayState) -> list[_Span]:
    """Camera and broker: a coloured dot each, and the words, since colour alone does not tell everybody."""
    plain, good, bad = page.type(22, WHITE), page.type(22, GREEN), page.type(22, RED)
    camera = readable(state.camera)
    return [
        _Span(DOT, good if state.camera_online else bad),
        _Span(camera if state.camera_online else f"{camera} offline", plain if state.camera_online else bad),
        _Span("    ", plain),
        _Span(DOT, good if state.broker_online else bad),
        _Span("broker" if state.broker_online else "broker away", plain if state.broker_online else bad),
    ]


def _figures(page: _Page, state: OverlayState, now_s: float, captured_s: float | None) -> list[_Span]:
    """Where the model runs, how long a caption takes, how old the picture is."""
    grey = page.type(22, GREY)
    spans = [
        _Span(readable(state.device) if state.device else "no model", grey if state.device else page.type(22, RED))
    ]
    if state.device and state.caption_ms is not None:
        spans.append(_Span(f"  {state.caption_ms:.0f} ms", grey))
    if captured_s is not None:
        age_s = max(0.0, now_s - captured_s)
        colour = grey if age_s < OLD_FRAME_S else page.type(22, AMBER)
        spans += [_Span("    ", grey), _Span(f"picture {_age(age_s)} old", colour)]
    return spans


def _blocks(page: _Page, state: OverlayState, now_s: float) -> list[_Block]:
    """The bottom band: caption, question, answer."""
    note = page.type(26, GREY)
    caption = readable(state.caption or "")
    if caption:
        age = "" if state.captioned_s is None else _age(max(0.0, now_s - state.captioned_s))
        about = "   ".join(part for part in (_percent(state.caption_confidence), age and f"{age} ago") if part)
        blocks = [_Block(caption, page.type(40, WHITE, 500), 3, about, note)]
    else:
        blocks = [_Block("no caption yet", page.type(40, GREY), 1)]
    if state.question and state.answer:
        blocks.append(_Block(readable(state.question), page.type(26, BLUE), 2))
        sure = _percent(state.answer_confidence)
        said = state.answer.strip().lower()
        if state.p_yes is not None and said in {"yes", "no"}:
            sure = f"{_percent(state.p_yes if said == 'yes' else 1 - state.p_yes)} {said}"
        blocks.append(_Block(readable(state.answer), page.type(36, WHITE, 500), 1, sure, note))
    return blocks


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _age(age_s: float) -> str:
    """A duration in the unit that needs the fewest digits: "0.4 s", "12 s", "3 min", "5 h"."""
    if age_s < 9.95:
        return f"{age_s:.1f} s"
    if age_s < 120:
        return f"{age_s:.0f} s"
    return f"{age_s / 60:.0f} min" if age_s < 7200 else f"{age_s / 3600:.0f} h"
