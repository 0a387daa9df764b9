"""The overlay: readable, inside its bands, and unmoved by hostile text."""

from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_app.messages import Result, TimingMs, failed
from edge_app.overlay import Overlay, OverlayState, placeholder, render
from edge_app.overlay_chips import LOOKS, OTHER, chips
from edge_app.overlay_panel import BAND_DIVISOR, Text
from edge_app.overlay_state import MAX_TEXT_CHARS
from edge_app.overlay_text import ELLIPSIS, MAX_CHARS, Colour, Type, readable, width_px, wrap
from edge_app.overlay_type import AMBER, BLUE, GREEN, GREY, RED, WHITE, Scale
from tests import overlay_golden

STATE = OverlayState(
    "door",
    camera_online=True,
    broker_online=True,
    caption="a red circle and a blue square",
    caption_confidence=0.93,
    captioned_s=98.9,
    caption_ms=245.4,
    device="GPU",
    question="what colour is the circle?",
    answer="red",
    answer_confidence=0.97,
)
HOSTILE = {
    "empty": "",
    "10,000 characters": "a cat " * 1667,
    "one word of 10,000": "x" * 10_000,
    "CJK": "人が猫を抱いている。" * 60,
    "emoji": "🐱👩‍👩‍👧 cat 😀" * 40,
    "control codes": "a\x00b\x07c\x1b[2Jd\ne\tf\r",
    "bidi and zero width": "abc\u202edef\u200b\ufeff\u2066",
    "lone surrogate": "a\ud800b",
    "accents without a letter": "\u0301" * 300,
    "right to left": "مرحبا שלום " * 50,
    "only spaces": " \u3000\u2028 " * 100,
}
SIZES = [(480, 640), (720, 1280), (1080, 1920), (2160, 3840), (1280, 720), (480, 480)]  # height, width
WORD_TYPE = Type(30, (255, 255, 255))


def shown(image: NDArray[np.uint8], state: OverlayState, captured_s: float | None = 99.9) -> NDArray[np.uint8]:
    return render(image, state, now_s=100.0, captured_s=captured_s)


def flat(size: tuple[int, int], grey: int) -> NDArray[np.uint8]:
    return np.full((*size, 3), grey, np.uint8)


def ink(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[H, W]: where text is, on a picture that was black: a black band stays black."""
    return np.asarray(np.any(image != 0, axis=2))


def with_text(text: str) -> OverlayState:
    """A state that has `text` wherever text can be."""
    return dataclasses.replace(
        STATE,
        camera=text,
        caption=text,
        question=text,
        answer=text,
        notice=text,
        device=text,
        rules=((text, "ON"), ("b", text)) * 9,
    )


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


def test_lettering_grows_with_the_picture() -> None:
    """Twice the picture gives twice the lettering: it reads equally well from the sofa at 720p and at 1440p."""
    small, large = (np.argwhere(ink(shown(flat((h, h * 16 // 9), 0), STATE))[h // 2 :]) for h in (720, 1440))
    assert np.ptp(large[:, 1]) == pytest.approx(2 * np.ptp(small[:, 1]), rel=0.03)


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


def test_what_is_told_shows() -> None:
    """Each piece of state changes the picture: none of them is forgotten in the drawing."""
    image = flat((720, 1280), 0)
    usual = shown(image, STATE)
    for change in (
        {"camera": "yard"},
        {"camera_online": False},
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


def test_placeholder_takes_the_overlay() -> None:
    """Before a camera's first frame there is a plain picture with the state on it, and no age."""
    state = OverlayState("door")
    assert not np.array_equal(shown(placeholder(), state, captured_s=None), placeholder())


def test_wrap_breaks_at_spaces_and_loses_no_word() -> None:
    """Lines joined by spaces are the text again, and each fits."""
    text = "a man in a yellow jacket is standing on a ladder next to a white van"
    lines = wrap(text, 300, 10, WORD_TYPE)
    assert " ".join(lines) == text
    assert all(width_px(line, WORD_TYPE) <= 300 for line in lines)


def test_wrap_breaks_scripts_without_spaces_between_characters() -> None:
    """Chinese has no spaces; its lines are cut where they are full, and nothing is lost."""
    text = "一个人抱着猫站在白色的房子前面"
    lines = wrap(text, 200, 10, WORD_TYPE)
    assert len(lines) > 1
    assert "".join(lines) == text


def test_wrap_keeps_an_accent_with_its_letter() -> None:
    """A line never begins with a combining accent. (q has no precomposed letter with a circumflex.)"""
    lines = wrap("q\u0302" * 40, 200, 10, WORD_TYPE)
    assert len(lines) > 1
    assert all(line[0] == "q" for line in lines)


def test_wrap_ends_what_does_not_fit_with_an_ellipsis_that_does() -> None:
    """The last line allowed carries the ellipsis, within the limit."""
    lines = wrap("word " * 100, 300, 2, WORD_TYPE)
    assert len(lines) == 2
    assert lines[-1].endswith(ELLIPSIS)
    assert width_px(lines[-1], WORD_TYPE) <= 300


def test_wrap_gives_no_line_where_no_character_fits() -> None:
    """A column narrower than a letter stays empty instead of overflowing."""
    assert wrap("word", 3, 2, WORD_TYPE) == ()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_readable_text_is_one_clean_line(text: str) -> None:
    """What OpenCV sees has no control character, no surrogate (one ends the process), and a bounded length."""
    cleaned = readable(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= MAX_CHARS
    cleaned.encode("utf-8")


def test_message_of_hostile_state_fits_the_link() -> None:
    """The longest state is far below the link's 64 KiB even when JSON escapes each of its characters."""
    assert len(json.dumps(with_text("😀" * 10_000).to_message())) < 60_000
    assert len(with_text("x" * 10_000).to_message()["caption"]) == MAX_TEXT_CHARS


def result(**values: object) -> Result:
    known = {"type": "caption", "status": "ok", "ts": "", "camera": "door", "text": "a cat", "confidence": 0.8}
    return Result(**{**known, **values})  # type: ignore[arg-type]


def test_caption_result_enters_the_state_with_the_time_of_its_frame() -> None:
    """A caption published 250 ms after capture, at second 10, describes second 9.75."""
    timing = TimingMs(total=180.0)
    state = OverlayState("door").with_result(result(age_ms=250.0, device="CPU", timing_ms=timing), now_s=10.0)
    assert (state.caption, state.caption_confidence, state.device, state.caption_ms) == ("a cat", 0.8, "CPU", 180.0)
    assert state.captioned_s == pytest.approx(9.75)


def test_answer_result_leaves_the_caption() -> None:
    """An answer joins the caption of the same camera."""
    answer = result(type="answer", text="yes", question="is there a cat?", p_yes=0.9)
    state = STATE.with_result(answer, now_s=10.0)
    assert (state.caption, state.question, state.answer, state.p_yes) == (STATE.caption, "is there a cat?", "yes", 0.9)


def test_result_of_another_camera_shows_that_camera_alone() -> None:
    """The picture follows the camera that spoke last; nothing said about one camera is shown over another."""
    state = STATE.with_result(result(camera="yard"), now_s=10.0)
    assert (state.camera, state.caption, state.question, state.answer) == ("yard", "a cat", None, None)


def test_error_never_becomes_a_caption() -> None:
    """An error leaves the state as it was."""
    assert STATE.with_result(failed("caption", "timeout", "Too late.", now_unix_s=0, camera="door"), now_s=1) is STATE


@pytest.mark.parametrize("height_px", overlay_golden.HEIGHTS_PX)
@pytest.mark.parametrize("name", overlay_golden.STATES)
def test_drawing_is_as_it_was_looked_at(name: str, height_px: int) -> None:
    """The golden pictures, which a person has judged. Means of 4x4 pixels differ by 20 of 255 at most: the edges of
    letters may be smoothed otherwise elsewhere, but a letter that moves by a pixel changes them by more than 40.
    """
    golden = cv2.imread(str(overlay_golden.path(name, height_px)))
    assert golden is not None
    drawn = overlay_golden.draw(name, height_px)
    assert drawn.shape == golden.shape
    size = (golden.shape[1] // 4, golden.shape[0] // 4)
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(int) for image in (drawn, golden)]
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


def test_cached_drawing_equals_fresh_drawing() -> None:
    """Whatever came before, an Overlay gives the pixels of one that is new: texts, sizes, rules change to and fro."""
    overlay = Overlay()
    rng = np.random.default_rng(1)
    for step in range(30):
        name = list(overlay_golden.STATES)[rng.integers(4)]
        image = rng.integers(0, 256, (*SIZES[rng.integers(2)], 3), dtype=np.uint8)
        now_s = overlay_golden.NOW_S + step / 3
        fresh = render(image, overlay_golden.STATES[name], now_s=now_s, captured_s=None)
        overlay.draw(image, overlay_golden.STATES[name], now_s=now_s, captured_s=None)
        assert np.array_equal(image, fresh)


def test_only_what_changed_is_drawn_anew() -> None:
    """A new picture draws nothing; a second later the caption's age alone; a new caption no more than its column."""
    overlay = Overlay()

    def drawings(state: OverlayState, now_s: float) -> int:
        before = overlay.drawings
        overlay.draw(flat((720, 1280), 90), state, now_s=now_s, captured_s=now_s - 0.04)
        return overlay.drawings - before

    state = dataclasses.replace(STATE, rules=overlay_golden.RULES)
    assert drawings(state, 100.0) > 3
    assert drawings(state, 100.1) == 0
    assert drawings(state, 101.5) == 1
    assert drawings(dataclasses.replace(state, caption="a cat"), 101.5) == 1


def test_the_right_column_keeps_the_captions_lines() -> None:
    """A caption is not wrapped anew because it is a minute old, or less certain."""
    caption = "a man in a yellow jacket is standing on a ladder next to a white van"
    seen = set()
    for age_s, confidence in ((0.1, 1.0), (3.0, 0.9), (75.0, 1.0), (4000.0, None)):
        state = dataclasses.replace(STATE, caption=caption, captioned_s=100 - age_s, caption_confidence=confidence)
        seen.add(shown(flat((720, 1280), 0), state)[-200:, :900].tobytes())
    assert len(seen) == 1


def test_rules_that_are_on_are_never_those_left_out() -> None:
    """Of 32 rules of which two are ON, those two have a chip, and the last chip counts the others."""
    rules = [(f"a_rule_with_a_long_name_{number}", "OFF") for number in range(30)]
    for place in (0, 29):
        marks, rows = chips(Scale(1.0), (*rules[:place], ("x", "ON"), ("y", "ON"), *rules[place:]), 1208, 2)
        texts = [mark.text for mark in marks if isinstance(mark, Text)]
        assert rows == 2
        assert {"x  ON", "y  ON"} <= set(texts)
        assert texts[-1] == f"+{32 - (len(texts) - 1)}"


def test_no_line_of_japanese_begins_with_a_full_stop() -> None:
    """The character before it goes to the next line along with it."""
    for limit_px in range(100, 400, 7):
        lines = wrap("人が猫を抱いている。白い家、赤い車。" * 3, limit_px, 20, WORD_TYPE)
        assert "".join(lines) == "人が猫を抱いている。白い家、赤い車。" * 3
        assert not any(line[0] in "。、" for line in lines)


def test_rules_cross_the_link() -> None:
    """Rules arrive as they were sent, as many as the link has room for, and stay when a result comes."""
    state = dataclasses.replace(STATE, rules=overlay_golden.RULES)
    assert OverlayState.from_message(json.loads(json.dumps(state.to_message()))) == state
    assert state.with_result(result(camera="yard"), now_s=1.0).rules == overlay_golden.RULES
    flood = dataclasses.replace(with_text("😀" * 10_000), rules=(("x" * 64, "unknown"),) * 1000)
    assert len(json.dumps(flood.to_message())) < 60_000
