"""Text becomes clean lines that fit, in any script."""

from __future__ import annotations

import pytest

from edge_app.overlay.text import ELLIPSIS, MAX_CHARS, Type, readable, width_px, wrap
from tests.overlay.material import HOSTILE

WORD_TYPE = Type(30, (255, 255, 255))


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


def test_no_line_of_japanese_begins_with_a_full_stop() -> None:
    """The character before it goes to the next line along with it."""
    for limit_px in range(100, 400, 7):
        lines = wrap("人が猫を抱いている。白い家、赤い車。" * 3, limit_px, 20, WORD_TYPE)
        assert "".join(lines) == "人が猫を抱いている。白い家、赤い車。" * 3
        assert not any(line[0] in "。、" for line in lines)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_readable_text_is_one_clean_line(text: str) -> None:
    """What OpenCV sees has no control character, no surrogate (one ends the process), and a bounded length."""
    cleaned = readable(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= MAX_CHARS
    cleaned.encode("utf-8")
