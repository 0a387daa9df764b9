"""Rotation and crop, to the pixel: alone, and through a camera's process into the shared buffer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from edge_app.camera import Picture
from edge_app.camera.view import View
from edge_app.settings import Box

if TYPE_CHECKING:
    from tests.camera.conftest import Watched

WIDTH_PX, HEIGHT_PX = 16, 8


def numbered() -> Picture:
    """[8, 16, 3]: every pixel has a value of its own, row * 16 + column, in the first channel."""
    image = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    image[..., 0] = np.arange(HEIGHT_PX * WIDTH_PX).reshape(HEIGHT_PX, WIDTH_PX)
    image[..., 2] = 200  # red, so that channels that change places are seen
    return image


@pytest.mark.parametrize(("rotation", "quarters", "corner"), [(0, 0, 0), (90, 3, 112), (180, 2, 127), (270, 1, 15)])
def test_rotation_is_clockwise(rotation: int, quarters: int, corner: int) -> None:
    """As NumPy turns, which counts the other way; 90 degrees bring the lower left pixel, 7 * 16, to the upper left."""
    image = numbered()
    turned = View(rotation, None).of(image)
    assert np.array_equal(turned, np.rot90(image, quarters))
    assert turned[0, 0, 0] == corner


def test_a_view_follows_pictures_that_change_their_size() -> None:
    """A camera may come back with another size: each picture is turned as if it were the first."""
    turn = View(90, None)
    for image in (numbered(), numbered()[:4], numbered()[::-1].copy(), numbered()[:, 2:].copy()):
        assert np.array_equal(turn.of(image), np.rot90(image, 3))


def test_crop_is_a_part_of_the_turned_picture() -> None:
    """Turned by 90 degrees it is 8 wide and 16 high; its right half, upper quarter is columns 4-7 of rows 0-3."""
    image = numbered()
    part = View(90, (0.5, 0.0, 1.0, 0.25)).of(image)
    assert part.shape == (4, 4, 3)
    # Row 0 of the turned picture is column 0 of the original from below: rows 7 to 0; its columns 4-7: rows 3 to 0.
    assert part[0, :, 0].tolist() == [3 * 16, 2 * 16, 16, 0]
    assert part[3, :, 0].tolist() == [3 * 16 + 3, 2 * 16 + 3, 16 + 3, 3]


@pytest.mark.parametrize("edge", [0.1, 1 / 3, 0.47, 0.5, 0.53, 0.999, 1e-9])
def test_crops_that_share_an_edge_are_the_whole(edge: float) -> None:
    """Left and right of any edge: no pixel twice and none missing, unless one side would have none."""
    image = numbered()
    left, right = View(0, (0, 0, edge, 1)).of(image), View(0, (edge, 0, 1, 1)).of(image)
    if 0.5 / WIDTH_PX < edge < 1 - 0.5 / WIDTH_PX:
        assert np.array_equal(np.hstack([left, right]), image)
    else:
        assert min(left.shape[1], right.shape[1]) == 1  # a sliver is one pixel, which the other side has too


@pytest.mark.parametrize("crop", [(0.0, 0.0, 1e-9, 1e-9), (1 - 1e-9, 1 - 1e-9, 1.0, 1.0)])
def test_the_smallest_crop_is_a_pixel(crop: Box) -> None:
    """A part without a whole pixel is the one at its place, never an empty picture."""
    assert View(0, crop).of(numbered()).shape == (1, 1, 3)


def test_the_shared_picture_is_turned_and_cut(watch: Callable[..., Watched], tmp_path: Path) -> None:
    """The camera's process applies both before the buffer: what model and display read is exact to the pixel."""
    path = tmp_path / "numbered.png"
    cv2.imwrite(str(path), numbered())
    watched = watch(f"file:{path}", rotation=270, crop=(0.0, 0.25, 0.5, 0.75), fps=25)
    watched.until_online()
    frame = watched.supervisor.buffer.latest()
    assert frame is not None
    turned = np.rot90(numbered())  # [16, 8, 3]
    assert np.array_equal(frame.image, turned[4:12, :4])
    assert "turned by 270 degrees, cropped to 4x8" in watched.supervisor.info["detail"]
