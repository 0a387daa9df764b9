"""The overlay keeps to its bands, is unmoved by hostile text, and draws anew only what has changed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_app.overlay.drawing import Overlay, placeholder, render
from edge_app.overlay.state import OverlayState
from tests.overlay import golden
from tests.overlay.material import HOSTILE, SIZES, STATE, flat, ink, shown, with_text


def band_rows(state: OverlayState, size: tuple[int, int]) -> tuple[int, int]:
    """The first row below the top band and the first row of the bottom band."""
    white = shown(flat(size, 255), state)
    untouched = np.flatnonzero(np.all(white == 255, axis=(1, 2)))
    return int(untouched[0]), int(untouched[-1]) + 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("text", [STATE.caption, *HOSTILE.values()], ids=["plain", *HOSTILE])
def test_text_keeps_clear_of_the_frames_edge(size: tuple[int, int], text: str) -> None:
    """Whatever the text and the size of the picture, no letter comes within 3 % of the left or right edge."""
    pixels = ink(shown(flat(size, 0), with_text(text)))
    clear_px = round(0.03 * 0.75 * size[1])
    assert not pixels[:, :clear_px].any()
    assert not pixels[:, -clear_px:].any()


@pytest.mark.parametrize("size", SIZES)
def test_long_text_leaves_a_third_of_the_picture_free(size: tuple[int, int]) -> None:
    """A caption, question, answer and notice of any length end in an ellipsis; the middle of the picture stays."""
    top, bottom = band_rows(with_text("a very long sentence " * 500), size)
    assert bottom - top >= size[0] / 3


@pytest.mark.parametrize("size", SIZES)
def test_nothing_between_the_bands_changes(size: tuple[int, int]) -> None:
    """Between the two bands the picture is the camera's, bit for bit."""
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    top, bottom = band_rows(STATE, size)
    assert np.array_equal(shown(image, STATE)[top:bottom], image[top:bottom])


def test_the_given_picture_is_not_drawn_on() -> None:
    """The overlay goes on a copy: the frame may have other readers."""
    image = flat((720, 1280), 200)
    shown(image, STATE)
    assert np.all(image == 200)


def test_same_inputs_give_the_same_pixels() -> None:
    """Drawing depends on nothing but its arguments."""
    assert np.array_equal(shown(flat((720, 1280), 90), STATE), shown(flat((720, 1280), 90), STATE))


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (16, 3840), (2160, 16), (100, 120)])
def test_tiny_and_odd_pictures_are_survived(size: tuple[int, int]) -> None:
    """A picture too small for text still comes back in its own size."""
    assert shown(flat(size, 128), with_text("a caption " * 50)).shape == (*size, 3)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300), st.floats(), st.floats())
def test_any_text_and_any_number_is_drawn(text: str, confidence: float, moment_s: float) -> None:
    """No string, confidence or time of the service's can stop the drawing, once it has crossed the link."""
    sent = dataclasses.replace(with_text(text), caption_confidence=confidence, captioned_s=moment_s)
    state = OverlayState.from_message(json.loads(json.dumps(sent.to_message(), allow_nan=False)))
    assert shown(flat((240, 320), 0), state).shape == (240, 320, 3)


def test_placeholder_takes_the_overlay() -> None:
    """Before a camera's first frame there is a plain picture with the state on it, and no age."""
    state = OverlayState("door")
    assert not np.array_equal(shown(placeholder(), state, captured_s=None), placeholder())


def test_cached_drawing_equals_fresh_drawing() -> None:
    """Whatever came before, an Overlay gives the pixels of one that is new: texts, sizes, rules change to and fro."""
    overlay = Overlay()
    rng = np.random.default_rng(1)
    for step in range(30):
        name = list(golden.STATES)[rng.integers(4)]
        image = rng.integers(0, 256, (*SIZES[rng.integers(2)], 3), dtype=np.uint8)
        now_s = golden.NOW_S + step / 3
        fresh = render(image, golden.STATES[name], now_s=now_s, captured_s=None)
        overlay.draw(image, golden.STATES[name], now_s=now_s, captured_s=None)
        assert np.array_equal(image, fresh)


def test_only_what_changed_is_drawn_anew() -> None:
    """A new picture draws nothing; a second later the caption's age alone; a new caption no more than its column."""
    overlay = Overlay()

    def drawings(state: OverlayState, now_s: float) -> int:
        before = overlay.drawings
        overlay.draw(flat((720, 1280), 90), state, now_s=now_s, captured_s=now_s - 0.04)
        return overlay.drawings - before

    state = dataclasses.replace(STATE, rules=golden.RULES)
    assert drawings(state, 100.0) > 3
    assert drawings(state, 100.1) == 0
    assert drawings(state, 101.5) == 1
    assert drawings(dataclasses.replace(state, caption="a cat"), 101.5) == 1
