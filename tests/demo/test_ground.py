"""What is behind the objects: varied, and never to be taken for one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.demo import world
from edge_app.demo.ground import draw_ground
from edge_app.demo.world import Ground

SIZE_PX = 96
DARK = 64  # levels of 255; below it the rounding of single levels makes saturation meaningless
# The palest paint: pink at the low end of its range, 0.45 * 0.92.
PALEST = min(saturation for _, saturation, _ in world.COLOURS.values()) * world.VARIETY.paint_scale[0]


def saturation(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """HSV saturation of all pixels that are not dark, 0..1."""
    most, least = image.max(axis=2).astype(float), image.min(axis=2).astype(float)
    lit = most >= DARK
    return np.asarray((most - least)[lit] / most[lit])


@pytest.mark.parametrize("kind", world.GROUNDS)
def test_no_ground_is_as_colourful_as_an_object(kind: str) -> None:
    """Every pixel stays clearly below the saturation of the palest paint, 0.41.

    Measured over 2,000 grounds of each kind: plain 0.20, clouds 0.31, planks 0.20, tiles 0.21.
    """
    rng = np.random.default_rng(0)
    grounds = [replace(world.random_look(rng).ground, kind=kind) for _ in range(250)]
    levels = [saturation(draw_ground(ground, SIZE_PX)).max(initial=0) for ground in grounds]
    assert pytest.approx(0.414) == PALEST
    assert max(levels) < PALEST - 0.07


def test_litter_is_grey() -> None:
    """Its channels differ by a tenth at most: (1.1 - 0.9) / 1.1 = 0.18, and one level of rounding."""
    for seed in range(200):
        littered = draw_ground(Ground(bgr=(200, 200, 200), clutter=10, seed=seed), SIZE_PX)
        assert saturation(littered).max() <= 0.2


def test_litter_lies_on_the_ground_and_there_is_more_of_it_with_more_clutter() -> None:
    """None leaves the ground as it is; ten pieces change more of it than one, over fifty seeds."""

    def changed(clutter: int) -> float:
        images = [draw_ground(Ground(bgr=(200, 200, 200), clutter=clutter, seed=seed), SIZE_PX) for seed in range(50)]
        return float(np.mean([(image != 200).any(axis=2).mean() for image in images]))

    assert changed(0) == 0
    assert 0.01 < changed(1) < changed(10) / 4


def test_plain_ground_is_its_colour() -> None:
    """Without gradient and clutter every pixel is just `bgr`."""
    assert (draw_ground(Ground(bgr=(10, 120, 250)), SIZE_PX) == (10, 120, 250)).all()


def test_gradient_brightens_along_its_direction() -> None:
    """gradient 0.2 along 0 degrees: 1 - 0.1 at the left edge, 1 + 0.1 at the right, the same in every row."""
    image = draw_ground(Ground(bgr=(200, 200, 200), gradient=0.2), SIZE_PX)
    assert (image == image[0]).all()
    assert (image[0, 0] == 180).all()
    assert np.allclose(image[0, -1], 220, atol=1)
    assert (np.diff(image[0, :, 0].astype(int)) >= 0).all()


@pytest.mark.parametrize("kind", [kind for kind in world.GROUNDS if kind != "plain"])
def test_patterns_have_contrast_and_depend_on_the_seed(kind: str) -> None:
    """Clouds, planks and tiles show light and dark; another seed is another ground, and more contrast shows more."""

    def ground(contrast: float, seed: int = 1) -> NDArray[np.uint8]:
        return draw_ground(Ground(kind=kind, bgr=(150, 150, 150), contrast=contrast, seed=seed), SIZE_PX)

    assert (ground(0.0) == 150).all()
    assert 2 < ground(0.1).std() < ground(0.3).std()
    assert not np.array_equal(ground(0.3), ground(0.3, seed=2))


def test_ground_is_drawn_once_and_protected() -> None:
    """The same array is handed out again, so writing to it is refused; other sizes and grounds have their own."""
    ground = Ground(kind="clouds", contrast=0.2, clutter=5, seed=3)
    image = draw_ground(ground, SIZE_PX)
    assert draw_ground(ground, SIZE_PX) is image
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0] = 0
    assert draw_ground(ground, 48).shape == (48, 48, 3)
    draw_ground.cache_clear()
    assert np.array_equal(draw_ground(ground, SIZE_PX), image)
