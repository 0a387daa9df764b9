"""The overlay's measures and colours, given for a picture of 1280x720 and scaled to the one at hand."""

from __future__ import annotations

from dataclasses import dataclass

from edge_app.overlay.panel import Text
from edge_app.overlay.text import MIN_SIZE_PX, Colour, Type, width_px, wrap

DESIGN_HEIGHT_PX = 720
MARGIN = 36  # 5 % of the height: a television's overscan cuts no text
PADDING = 14  # between a band's edge and its text
GAP = 12  # between two blocks, and between two columns

# BGR. On a band each has a contrast of at least 4.5:1 (WCAG AA), however bright the picture behind it.
WHITE: Colour = (255, 255, 255)
GREY: Colour = (205, 205, 205)
BLUE: Colour = (255, 214, 160)
GREEN: Colour = (120, 230, 120)
AMBER: Colour = (90, 205, 255)
RED: Colour = (150, 150, 255)

Span = tuple[str, Type]
"""A piece of a line, cleaned, with a look of its own."""


@dataclass(frozen=True)
class Scale:
    """How large the design is on a picture."""

    factor: float

    @classmethod
    def of(cls, width: int, height_px: int) -> Scale:
        """The scale of a picture: by its height, and smaller on one that is narrower than 4:3."""
        return cls(min(height_px, 0.75 * width) / DESIGN_HEIGHT_PX)

    def px(self, length: float) -> int:
        """A length of the design as whole pixels of the picture, at least one."""
        return max(1, round(length * self.factor))

    def type(self, size: float, colour: Colour, weight: int = 450) -> Type:
        """A type whose size is one of the design."""
        return Type(max(MIN_SIZE_PX, self.px(size)), colour, weight)


def row(spans: list[Span], x_px: int, end_px: int, top_px: int) -> tuple[tuple[Text, ...], int]:
    """Spans one after the other, the last cut at `end_px`: the texts, and where the next one would begin."""
    texts = []
    for span, type_ in spans:
        for line in wrap(span, end_px - x_px, 1, type_):
            texts.append(Text(line, x_px, top_px, type_))
            x_px += width_px(line, type_)
            if line != span:
                return tuple(texts), x_px
    return tuple(texts), x_px


def age(age_s: float) -> str:
    """A duration in the unit that needs the fewest digits, rounded up: "0.1 s", "12 s", "3 min", "5 h"."""
    if age_s < 0.95:
        return f"{max(age_s, 0.0) + 0.05:.1f} s"
    if age_s < 120:
        return f"{age_s:.0f} s"
    return f"{age_s / 60:.0f} min" if age_s < 7200 else f"{age_s / 3600:.0f} h"


def percent(share: float | None) -> str:
    """A share of 0..1: "93 %"; nothing for None."""
    return "" if share is None else f"{100 * share:.0f} %"
