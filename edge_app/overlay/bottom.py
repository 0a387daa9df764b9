"""The lower band: the caption, and the last question with its answer; on the right how sure and how old they are."""

from __future__ import annotations

from dataclasses import dataclass

from edge_app.overlay.panel import Text, Tile
from edge_app.overlay.state import OverlayState
from edge_app.overlay.text import Type, readable, width_px, wrap
from edge_app.overlay.type import BLUE, GAP, GREY, MARGIN, PADDING, WHITE, Scale, age, percent

PAIR_GAP = 4  # between a question and its answer
WIDEST_NOTE = "100 %   119 min ago"  # the right column keeps its width, so that no age moves the caption's lines


@dataclass(frozen=True)
class _Block:
    """Text on the left, wrapped; a short note on the right of its first line; a gap above."""

    text: str
    type: Type
    max_lines: int
    note: str = ""
    gap: int = GAP


def bottom_band(scale: Scale, width: int, height_px: int, state: OverlayState, now_s: float) -> list[Tile]:
    """The tiles of the band, down to the lower edge of a picture of `width` by `height_px` pixels."""
    note_type = scale.type(26, GREY)
    left_px, right_px = scale.px(MARGIN), width - scale.px(MARGIN)
    split_px = max(left_px, right_px - width_px(WIDEST_NOTE, note_type) - scale.px(GAP))
    blocks = _blocks(scale, state, now_s)
    laid = [(block, wrap(block.text, split_px - left_px, block.max_lines, block.type)) for block in blocks]
    content_px = sum(len(lines) * block.type.line_px for block, lines in laid)
    content_px += sum(scale.px(block.gap) for block in blocks[1:])
    band_px = 2 * scale.px(PADDING) + content_px
    texts: list[Text] = []
    notes: list[Text] = []
    y_px = 0
    for number, (block, lines) in enumerate(laid):
        y_px += scale.px(block.gap if number else PADDING)
        if block.note and width_px(block.note, note_type) <= right_px - split_px:
            # The note shares the first line's baseline, whatever its own size.
            note_top_px = y_px + block.type.size_px - note_type.size_px
            x_px = right_px - split_px - width_px(block.note, note_type)
            notes.append(Text(block.note, x_px, note_top_px, note_type))
        for line in lines:
            texts.append(Text(line, left_px, y_px, block.type))
            y_px += block.type.line_px
    return [
        Tile(0, height_px - band_px, split_px, band_px, tuple(texts)),
        Tile(split_px, height_px - band_px, width - split_px, band_px, tuple(notes)),
    ]


def _blocks(scale: Scale, state: OverlayState, now_s: float) -> list[_Block]:
    """Caption, question, answer."""
    caption = readable(state.caption or "")
    if caption:
        ago = "" if state.captioned_s is None else _ago(now_s - state.captioned_s)
        about = "   ".join(part for part in (percent(state.caption_confidence), ago) if part)
        blocks = [_Block(caption, scale.type(40, WHITE, 500), 3, about)]
    else:
        blocks = [_Block("no caption yet", scale.type(40, GREY), 1)]
    if state.question and state.answer:
        blocks.append(_Block(readable(state.question), scale.type(26, BLUE), 2))
        blocks.append(_Block(readable(state.answer), scale.type(36, WHITE, 500), 1, _sure(state), PAIR_GAP))
    return blocks


def _sure(state: OverlayState) -> str:
    """How sure an answer is; of yes or no, what share of the two it has."""
    said = (state.answer or "").strip().lower()
    if state.p_yes is not None and said in {"yes", "no"}:
        return f"{percent(state.p_yes if said == 'yes' else 1 - state.p_yes)} {said}"
    return percent(state.answer_confidence)


def _ago(age_s: float) -> str:
    # Tenths would draw this anew ten times a second, and nobody could read them.
    return "now" if age_s < 1 else f"{age(age_s)} ago"
