"""The upper band: camera and broker, device and times, the rules as chips, and a notice if there is one."""

from __future__ import annotations

from edge_app.overlay.chips import ROW, chips
from edge_app.overlay.panel import Text, Tile
from edge_app.overlay.state import OverlayState
from edge_app.overlay.text import readable, width_px, wrap
from edge_app.overlay.type import AMBER, GAP, GREEN, GREY, MARGIN, PADDING, RED, WHITE, Scale, Span, age, row

OLD_FRAME_S = 2.0  # a live picture is younger
NOTICE_PADDING = 7  # below a notice, whose lines have some room of their own
DOT = "● "
SPACE = "    "


def top_band(scale: Scale, width: int, state: OverlayState, now_s: float, captured_s: float | None) -> list[Tile]:
    """The tiles of the band, from the upper edge of a picture of `width` pixels."""
    left_px, inner_px, pad_px = scale.px(MARGIN), width - 2 * scale.px(MARGIN), scale.px(PADDING)
    height_px = 2 * pad_px + scale.type(22, WHITE).line_px
    figures = _figures(scale, state, now_s, captured_s)
    figures_px = sum(width_px(text, type_) for text, type_ in figures)
    split_px = left_px + inner_px - figures_px
    broker = _broker(scale, state)
    broker_px = sum(width_px(text, type_) for text, type_ in broker)
    tiles = []
    if split_px >= left_px + broker_px + scale.px(GAP):  # what is longer than its room is a camera's name
        tiles.append(Tile(split_px, 0, width - split_px, height_px, row(figures, 0, figures_px, pad_px)[0]))
        end_px = split_px - scale.px(GAP)
    else:
        split_px, end_px = width, left_px + inner_px
    texts, x_px = row(_cameras(scale, state), left_px, end_px - broker_px, pad_px)
    tiles.append(Tile(0, 0, split_px, height_px, (*texts, *row(broker, x_px, end_px, pad_px)[0])))

    # With a notice, one row of chips: the picture keeps a third of the height.
    marks, rows = chips(scale, state.rules, inner_px, 1 if state.notice else 2)
    if rows:
        row_px = rows * scale.px(ROW)
        tiles.append(Tile(0, height_px, left_px, row_px, ()))
        tiles.append(Tile(left_px, height_px, width - left_px, row_px, marks))
        height_px += row_px
    type_ = scale.type(22, AMBER)
    lines = wrap(readable(state.notice or ""), inner_px, 2, type_)
    if lines:
        notice = tuple(Text(line, left_px, n * type_.line_px, type_) for n, line in enumerate(lines))
        tiles.append(Tile(0, height_px, width, len(lines) * type_.line_px + scale.px(NOTICE_PADDING), notice))
    return tiles


def _cameras(scale: Scale, state: OverlayState) -> list[Span]:
    """A coloured dot and the name of each camera: the one shown, those that are offline, the others."""
    plain, grey = scale.type(22, WHITE), scale.type(22, GREY)
    good, bad = scale.type(22, GREEN), scale.type(22, RED)
    spans: list[Span] = []
    cameras = [(state.camera, state.camera_online), *sorted(state.others, key=lambda other: other[1])]
    for number, (name, online) in enumerate(cameras):
        label = readable(name) if online else f"{readable(name)} offline"
        spans += [
            (DOT, good if online else bad),
            (label, (grey if number else plain) if online else bad),
            (SPACE, plain),
        ]
    return spans[:-1]


def _broker(scale: Scale, state: OverlayState) -> list[Span]:
    plain, good, bad = scale.type(22, WHITE), scale.type(22, GREEN), scale.type(22, RED)
    if state.broker_online:
        return [(SPACE, plain), (DOT, good), ("broker", plain)]
    return [(SPACE, plain), (DOT, bad), ("broker away", bad)]


def _figures(scale: Scale, state: OverlayState, now_s: float, captured_s: float | None) -> list[Span]:
    """Where the model runs, how long a caption takes, how old the picture is."""
    grey = scale.type(22, GREY)
    spans = [(readable(state.device), grey) if state.device else ("no model", scale.type(22, RED))]
    if state.device and state.caption_ms is not None:
        spans.append((f"  {state.caption_ms:.0f} ms", grey))
    if captured_s is not None:
        age_s = max(0.0, now_s - captured_s)
        colour = grey if age_s < OLD_FRAME_S else scale.type(22, AMBER)
        spans += [(SPACE, grey), (f"picture {age(age_s)} old", colour)]
    return spans
