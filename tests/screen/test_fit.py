"""A camera's picture on a screen: whole, in its proportions, in the middle."""

from __future__ import annotations

import numpy as np
import pytest

from edge_app.screen.fit import PILLAR_BGR, fitted, own_size

# Width and height of the camera's picture and of the screen; the box x, y, width, height in which it is then.
FITS = [
    ((1280, 720), (1280, 720), (0, 0, 1280, 720)),
    ((1280, 720), (1920, 1080), (0, 0, 1920, 1080)),
    ((640, 480), (1920, 1080), (240, 0, 1440, 1080)),
    ((1280, 720), (1024, 768), (0, 96, 1024, 576)),
    ((1080, 1920), (3840, 2160), (1312, 0, 1215, 2160)),
    ((3840, 2160), (1280, 720), (0, 0, 1280, 720)),
    ((1, 1000), (320, 180), (159, 0, 1, 180)),
]


@pytest.mark.parametrize(("camera", "screen", "box"), FITS)
def test_picture_fits_the_screen(
    camera: tuple[int, int], screen: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    """Each pixel of the screen is picture inside of the box, and pillar outside."""
    shown = fitted(np.full((camera[1], camera[0], 3), 200, np.uint8), screen)
    x, y, width, height = box
    expected = np.full((screen[1], screen[0], 3), PILLAR_BGR, np.uint8)
    expected[y : y + height, x : x + width] = 200
    assert np.array_equal(shown, expected)


@pytest.mark.parametrize(
    ("camera", "own"),
    [
        ((1280, 720), (1280, 720)),
        ((320, 240), (1280, 720)),
        ((1920, 1080), (1920, 1080)),
        ((1080, 1920), (3413, 1920)),
        ((3440, 1440), (3440, 1440)),
        ((2160, 3840), (3840, 2160)),
        ((5120, 1440), (3840, 1080)),
        ((7680, 4320), (3840, 2160)),
        ((1280, 36), (1280, 720)),
        ((3840, 40), (3840, 720)),
        ((65536, 1), (3840, 720)),
        ((1, 65536), (3840, 2160)),
    ],
)
def test_file_takes_the_cameras_size(camera: tuple[int, int], own: tuple[int, int]) -> None:
    """Where no screen says a size it is the camera's, at least 1280x720, as wide as a screen, at most 3840x2160.

    A crop may be a few lines high: it has little picture, and must not make a large one.
    """
    assert own_size(np.zeros((camera[1], camera[0], 3), np.uint8)) == own
