"""What the overlay's tests draw: a usual state, hostile texts, sizes of pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from edge_app.overlay.drawing import render
from edge_app.overlay.state import OverlayState

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
