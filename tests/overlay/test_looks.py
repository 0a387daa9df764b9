"""What a person sees of the overlay: all that is told, readable, as it was judged."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.overlay.bottom import bottom_band
from edge_app.overlay.chips import LOOKS, OTHER, chips
from edge_app.overlay.panel import BAND_DIVISOR, Pill, Text
from edge_app.overlay.text import Colour
from edge_app.overlay.type import AMBER, BLUE, GREEN, GREY, RED, WHITE, Scale, age
from edge_app.rules.rule import MAX_RULES
from tests.overlay import golden
from tests.overlay.material import STATE, flat, ink, shown


def test_lettering_grows_with_the_picture() -> None:
    """Twice the picture gives twice the lettering: it reads equally well from the sofa at 720p and at 1440p."""
    small, large = (np.argwhere(ink(shown(flat((h, h * 16 // 9), 0), STATE))[h // 2 :]) for h in (720, 1440))
    assert np.ptp(large[:, 1]) == pytest.approx(2 * np.ptp(small[:, 1]), rel=0.03)


def test_what_is_told_shows() -> None:
    """Each piece of state changes the picture: none of them is forgotten in the drawing."""
    image = flat((720, 1280), 0)
    usual = shown(image, STATE)
    for change in (
        {"camera": "yard"},
        {"camera_online": False},
        {"others": (("yard", True),)},
        {"others": (("yard", False),)},
        {"broker_online": False},
        {"caption": "a cat"},
        {"caption_confidence": 0.5},
        {"captioned_s": 50.0},
        {"caption_ms": 99.0},
        {"device": "CPU"},
        {"device": None},
        {"question": "what shape is red?"},
        {"answer": "blue"},
        {"answer_confidence": 0.2},
        {"answer": "yes", "p_yes": 0.4},
        {"notice": "The GPU is gone."},
        {"rules": (("cat", "ON"),)},
    ):
        changed = dataclasses.replace(STATE, **change)
        assert not np.array_equal(shown(image, changed), usual), change
    assert not np.array_equal(shown(image, STATE, captured_s=20.0), usual), "the age of the picture"


def test_long_names_of_cameras_leave_room_for_the_rest() -> None:
    """Just when a camera is offline and the broker away, the age of the picture matters."""
    crowded = dataclasses.replace(
        STATE,
        camera="x" * 64,
        camera_online=False,
        broker_online=False,
        others=tuple((f"camera_{number}", number > 0) for number in range(15)),
    )
    image = flat((720, 1280), 0)
    new, old = (shown(image, crowded, captured_s=captured_s)[:60] for captured_s in (99.9, 35.0))
    assert not np.array_equal(new, old), "the age of the picture"
    there = shown(image, dataclasses.replace(crowded, broker_online=True))[:60]
    assert not np.array_equal(new, there), "the broker"


@pytest.mark.parametrize("height_px", golden.HEIGHTS_PX)
@pytest.mark.parametrize("name", golden.STATES)
def test_drawing_is_as_it_was_looked_at(name: str, height_px: int) -> None:
    """The golden pictures, which a person has judged. Means of 4x4 pixels differ by 20 of 255 at most: the edges of
    letters may be smoothed otherwise elsewhere, but a letter that moves by a pixel changes them by more than 40.
    """
    expected = cv2.imread(str(golden.path(name, height_px)))
    assert expected is not None
    drawn = golden.draw(name, height_px)
    assert drawn.shape == expected.shape
    size = (expected.shape[1] // 4, expected.shape[0] // 4)
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(int) for image in (drawn, expected)]
    assert np.abs(small[0] - small[1]).max() <= 20


def luminance(colour: Colour | NDArray[np.uint8]) -> float:
    """Relative luminance of a BGR colour as WCAG 2.2 defines it."""
    share = np.array(colour, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.0722, 0.7152, 0.2126])


def contrast(one: Colour, other: Colour) -> float:
    """WCAG's ratio: black on white is 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_reads_on_the_brightest_picture() -> None:
    """On a band before pure white, and on its chip, each text has at least the 4.5:1 of WCAG AA. Black on white: 21."""
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    band = (255 // BAND_DIVISOR,) * 3
    for colour in (WHITE, GREY, BLUE, GREEN, AMBER, RED):
        assert contrast(colour, band) >= 4.5
    for look in (*LOOKS.values(), OTHER):
        assert contrast(look.text, look.fill) >= 4.5


def test_the_right_column_keeps_the_captions_lines() -> None:
    """A caption is not wrapped anew because it is a minute old, or less certain."""
    caption = "a man in a yellow jacket is standing on a ladder next to a white van"
    seen = set()
    for age_s, confidence in ((0.1, 1.0), (3.0, 0.9), (75.0, 1.0), (4000.0, None)):
        state = dataclasses.replace(STATE, caption=caption, captioned_s=100 - age_s, caption_confidence=confidence)
        seen.add(shown(flat((720, 1280), 0), state)[-200:, :900].tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("height_px", [360, 720, 1080, 2160])
def test_confidence_and_age_show_however_old_the_caption_is(height_px: int) -> None:
    """From a second to a year, each age is written in the right column: minutes are wider than seconds."""
    width = height_px * 16 // 9
    scale = Scale.of(width, height_px)
    for age_s in (0.1, 9, 10, 99, 119.9, 120, 12 * 60, 60 * 60, 118 * 60, 7199, 7200, 86_400, 365 * 86_400):
        state = dataclasses.replace(STATE, captioned_s=0.0, caption_confidence=1.0)
        _, notes = bottom_band(scale, width, height_px, state, age_s)
        said = "now" if age_s < 1 else f"{age(age_s)} ago"
        assert f"100 %   {said}" in [note.text for note in notes.marks if isinstance(note, Text)]


def test_rules_that_are_on_are_never_those_left_out() -> None:
    """Of all the rules there may be two are ON: those two have a chip, and the last chip counts the others."""
    rules = [(f"a_rule_with_a_long_name_{number}", "OFF") for number in range(MAX_RULES - 2)]
    for place in (0, MAX_RULES - 2):
        marks, rows = chips(Scale(1.0), (*rules[:place], ("x", "ON"), ("y", "ON"), *rules[place:]), 1208, 2)
        texts = [mark.text for mark in marks if isinstance(mark, Text)]
        assert rows == 2
        assert {"x  ON", "y  ON"} <= set(texts)
        assert texts[-1] == f"+{MAX_RULES - (len(texts) - 1)}"


def test_the_last_chip_says_how_many_of_the_rest_are_on() -> None:
    """Where even those that are ON have no room for all of them, nobody takes what is missing for quiet."""
    rules = tuple((f"rule_number_{number}", "ON" if number < 12 else "OFF") for number in range(20))
    marks, _ = chips(Scale(1.0), rules, 1208, 1)
    texts = [mark.text for mark in marks if isinstance(mark, Text)]
    pills = [mark for mark in marks if isinstance(mark, Pill)]
    assert texts[-1] == f"+{20 - (len(texts) - 1)}, {12 - (len(texts) - 1)} ON"
    assert pills[-1].fill == LOOKS["ON"].fill
