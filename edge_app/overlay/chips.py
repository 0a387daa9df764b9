"""The rules on the overlay: a chip each, with name and state."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from edge_app.overlay.panel import Pill, Text
from edge_app.overlay.text import Colour, readable, width_px, wrap
from edge_app.overlay.type import AMBER, GREY, Scale

HEIGHT = 34
ROW = 42  # a chip and what separates it from what comes below
PADDING = 15
GAP = 10
NAME_SHARE = 4  # a name takes at most a quarter of a row; the rest of it is cut

BLACK: Colour = (20, 20, 20)
DARK: Colour = (58, 58, 58)
RIM: Colour = (120, 120, 120)  # sets OFF apart from the band, and is quieter than that of "unknown"


@dataclass(frozen=True)
class _Look:
    fill: Colour
    edge: Colour | None
    text: Colour


# The state is a word on the chip as well, since colour alone does not tell everybody.
LOOKS = {"ON": _Look(AMBER, None, BLACK), "OFF": _Look(DARK, RIM, GREY)}
OTHER = _Look(BLACK, GREY, GREY)

Chip = tuple[str, _Look]


@functools.lru_cache(4)  # asked for at every picture, and the same until a rule changes
def chips(
    scale: Scale, rules: tuple[tuple[str, str], ...], width: int, max_rows: int
) -> tuple[tuple[Pill | Text, ...], int]:
    """Chips for `rules`, from (0, 0) on, in rows of `width` pixels; and how many rows they take.

    Where not all have room, those that are ON come first and the last chip counts what is missing.
    """
    wanted = [_chip(scale, rule, width // NAME_SHARE) for rule in rules]
    places = _flow(scale, wanted, width, max_rows)
    if len(places) < len(wanted):
        wanted.sort(key=lambda chip: chip[1] is not LOOKS["ON"])
        for count in range(len(places), -1, -1):
            shown = [*wanted[:count], _missing(wanted[count:])]
            places = _flow(scale, shown, width, max_rows)
            if len(places) == len(shown):
                break
        wanted = shown
    marks: list[Pill | Text] = []
    for chip, (x_px, row) in zip(wanted, places, strict=False):  # on a picture of a few pixels not even "+5" has room
        marks += _marks(scale, chip, x_px, row * scale.px(ROW))
    return tuple(marks), places[-1][1] + 1 if places else 0


def _flow(scale: Scale, wanted: list[Chip], width: int, max_rows: int) -> list[tuple[int, int]]:
    """Where the chips go, as x_px and row, up to the first that has no room."""
    places = []
    x_px = row = 0
    for chip in wanted:
        chip_px = _width_px(scale, chip)
        if x_px and x_px + chip_px > width:
            x_px, row = 0, row + 1
        if row == max_rows or chip_px > width:
            break
        places.append((x_px, row))
        x_px += chip_px + scale.px(GAP)
    return places


def _chip(scale: Scale, rule: tuple[str, str], name_limit_px: int) -> Chip:
    name, state = rule
    look = LOOKS.get(state, OTHER)
    lines = wrap(readable(name), name_limit_px, 1, scale.type(20, look.text))
    return f"{''.join(lines)}  {readable(state)[:16]}", look


def _missing(left_out: list[Chip]) -> Chip:
    """What stands for chips that have no room."""
    on = sum(look is LOOKS["ON"] for _, look in left_out)
    return (f"+{len(left_out)}, {on} ON", LOOKS["ON"]) if on else (f"+{len(left_out)}", OTHER)


def _width_px(scale: Scale, chip: Chip) -> int:
    return width_px(chip[0], scale.type(20, chip[1].text)) + 2 * scale.px(PADDING)


def _marks(scale: Scale, chip: Chip, x_px: int, top_px: int) -> tuple[Pill, Text]:
    text, look = chip
    type_ = scale.type(20, look.text)
    height_px = scale.px(HEIGHT)
    # Capitals are about 0.7 of a type's size; they stand in the middle of the chip.
    text_top_px = top_px + (height_px + round(0.7 * type_.size_px)) // 2 - type_.size_px
    return (
        Pill(x_px, top_px, _width_px(scale, chip), height_px, look.fill, look.edge),
        Text(text, x_px + scale.px(PADDING), text_top_px, type_),
    )
