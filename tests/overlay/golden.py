"""The pictures that the overlay's drawing is held to. `python -m tests.overlay.golden` draws them; look at them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.overlay.drawing import render
from edge_app.overlay.state import OverlayState

FOLDER = Path(__file__).parent / "golden_pictures"
HEIGHTS_PX = (720, 1080)
NOW_S = 1000.0

RULES = (("person_at_door", "ON"), ("parcel", "OFF"), ("dog", "unknown"), ("gate_open", "OFF"))
STATES = {
    "long": OverlayState(
        "front_door",
        broker_online=True,
        caption="a man in a yellow jacket is standing on a ladder next to a white van and a red bicycle " * 4,
        caption_confidence=0.71,
        captioned_s=NOW_S - 75,
        caption_ms=1245.4,
        device="CPU",
        question="what is the man with the yellow jacket and the long ladder doing at the side of the house? " * 3,
        answer="he is painting the wall above the second window from the left, the one with the blue shutters",
        answer_confidence=0.55,
        rules=tuple((f"rule_number_{number}", "ON" if number % 6 == 5 else "OFF") for number in range(20)),
        notice="The GPU failed its self-check: logits differ by 3.2, allowed are 0.5; the CPU works instead. " * 3,
    ),
    "cjk": OverlayState(
        "正門",
        camera_online=True,
        broker_online=True,
        caption="白い家の前に立っている男性と、赤い自転車に乗った子供。一个人抱着猫。고양이를 안고 있는 사람 " * 2,
        caption_confidence=0.93,
        captioned_s=NOW_S - 3,
        caption_ms=245.4,
        device="GPU",
        question="猫は何色ですか?",
        answer="白",
        answer_confidence=0.97,
        rules=(("正門", "ON"), ("猫", "OFF")),
    ),
    "accented": OverlayState(
        "Tür Süd",
        camera_online=True,
        broker_online=True,
        caption="Ein Mädchen füttert Vögel; ça, cet été à Łódź: Žižkov, Ωμέγα, ёлка, Ấn Độ",
        caption_confidence=1.0,
        captioned_s=NOW_S - 0.4,
        caption_ms=99.0,
        device="GPU",
        question="¿Está el niño al pie de la montaña?",
        answer="yes",
        p_yes=0.88,
        rules=RULES,
    ),
    "empty": OverlayState("door"),
}


def draw(name: str, height_px: int) -> NDArray[np.uint8]:
    """The picture `name` of 16:9, [height_px, W, 3] BGR: on a bright sky, where text is hardest to read."""
    shade = np.linspace(200, 255, height_px)[:, None, None]
    picture = np.broadcast_to(shade, (height_px, height_px * 16 // 9, 3)).astype(np.uint8)
    return render(picture, STATES[name], now_s=NOW_S, captured_s=NOW_S - (0.04 if name != "long" else 8))


def path(name: str, height_px: int) -> Path:
    """Where the picture is kept."""
    return FOLDER / f"overlay-{name}-{height_px}.png"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in STATES:
        for height_px in HEIGHTS_PX:
            cv2.imwrite(str(path(name, height_px)), draw(name, height_px), [cv2.IMWRITE_PNG_COMPRESSION, 9])
