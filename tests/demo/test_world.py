"""The drawn frame shows what the truth says, and the same seed shows the same world."""

from __future__ import annotations

import colorsys
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest

from edge_app.demo import world

PLAIN = world.Look(ground_bgr=(200, 200, 200))


def plain_scene(*objects: world.SceneObject) -> world.Scene:
    return world.Scene(objects, PLAIN)


def red(shape: str, x: float = 0.5, y: float = 0.5, radius: float = 0.2) -> world.SceneObject:
    return world.SceneObject("red", shape, x, y, radius, paint_bgr=(0, 0, 255))


def test_world_is_rich_enough_for_the_demo() -> None:
    """At least 8 colours, 6 shapes, and 6 withheld pairs whose colours and shapes all occur in training."""
    assert len(world.COLOURS) >= 8
    assert len(world.SHAPES) >= 6
    assert len(set(world.WITHHELD_PAIRS)) >= 6
    assert not set(world.WITHHELD_PAIRS) & set(world.TRAINING_PAIRS)
    assert {colour for colour, _ in world.TRAINING_PAIRS} == set(world.COLOURS)
    assert {shape for _, shape in world.TRAINING_PAIRS} == set(world.SHAPES)


def test_random_scene_obeys_its_rules() -> None:
    """Objects are different, left to right by a clear distance, apart from each other and inside the frame."""
    rng = np.random.default_rng(0)
    for index in range(200):
        count = index % (world.MOST_OBJECTS + 1)
        scene = world.random_scene(rng, count, world.TRAINING_PAIRS)
        assert len(set(scene.pairs)) == count
        assert set(scene.pairs) <= set(world.TRAINING_PAIRS)
        for one, two in itertools.pairwise(scene.objects):
            assert two.x - one.x >= world.VARIETY.least_dx
        for one, two in itertools.combinations(scene.objects, 2):
            assert math.dist((one.x, one.y), (two.x, two.y)) >= one.radius + two.radius
        for item in scene.objects:
            assert item.radius <= item.x <= 1 - item.radius
            assert item.radius <= item.y <= 1 - item.radius


@pytest.mark.parametrize("count", [-1, world.MOST_OBJECTS + 1])
def test_random_scene_refuses_a_count_out_of_range(count: int) -> None:
    """The message names the number asked for and the range."""
    with pytest.raises(ValueError, match=f"{count} objects was asked for; choose 0 to {world.MOST_OBJECTS}"):
        world.random_scene(np.random.default_rng(0), count)


def test_same_seed_draws_the_same_bytes() -> None:
    """Scene and frame depend on the seed alone, noise included."""

    def frame(seed: int) -> bytes:
        return world.draw(world.random_scene(np.random.default_rng(seed), 3), 96).tobytes()

    assert frame(5) == frame(5)
    assert frame(5) != frame(6)


@pytest.mark.parametrize("shape", world.SHAPES)
def test_paint_is_where_the_truth_says(shape: str) -> None:
    """A shape lies within its radius (corners: 1.15 of it), its paint's centre of mass is its centre."""
    size_px = 200
    image = world.draw(plain_scene(red(shape, x=0.3, y=0.6, radius=0.2)), size_px)
    rows, columns = np.nonzero((image == (0, 0, 255)).all(axis=2))
    x, y = (columns + 0.5) / size_px, (rows + 0.5) / size_px
    assert np.hypot(x - 0.3, y - 0.6).max() <= 1.2 * 0.2
    assert x.mean() == pytest.approx(0.3, abs=0.005)
    assert y.mean() == pytest.approx(0.6, abs=0.02)
    assert len(rows) / size_px**2 > 0.2**2  # more than a third of the circle of its radius


def test_ring_has_a_hole_that_belongs_to_it() -> None:
    """The ground shows through a ring, and the object map still calls its middle the ring."""
    scene = plain_scene(red("ring"))
    assert tuple(world.draw(scene, 100)[50, 50]) == PLAIN.ground_bgr
    assert world.object_map(scene, 100)[50, 50] == 1


def test_shapes_are_pairwise_different() -> None:
    """No two shapes of one size share more than 90 % of their paint."""
    paints = {shape: (world.draw(plain_scene(red(shape)), 100) == (0, 0, 255)).all(axis=2) for shape in world.SHAPES}
    for one, two in itertools.combinations(world.SHAPES, 2):
        shared = (paints[one] & paints[two]).sum() / (paints[one] | paints[two]).sum()
        assert shared < 0.9, (one, two)


def test_random_paint_keeps_its_colour_name() -> None:
    """Whatever the variety does to a paint, the nearest hue among the colours is still its own."""
    rng = np.random.default_rng(1)
    hues = {name: hue for name, (hue, _, _) in world.COLOURS.items()}
    for pair in world.PAIRS:
        blue, green, red_level = (level / 255 for level in world.random_object(rng, pair).paint_bgr)
        hue = colorsys.rgb_to_hsv(red_level, green, blue)[0] * 360
        nearest = min(hues, key=lambda name: abs((hues[name] - hue + 180) % 360 - 180))
        assert nearest == pair[0]


def test_object_map_numbers_objects_from_left_to_right() -> None:
    """Pixel values are 1 + the index in `scene.objects`, 0 is the ground."""
    scene = plain_scene(red("square", x=0.25), red("circle", x=0.75))
    labels = world.object_map(scene, 96)
    assert (labels[48, 24], labels[48, 72], labels[2, 2]) == (1, 2, 0)


def test_exposure_scales_the_frame() -> None:
    """An exposure of one half halves every level: 200 -> 100."""
    dark = world.Scene((), world.Look(ground_bgr=(200, 200, 200), exposure=0.5))
    assert (world.draw(dark, 16) == 100).all()


def test_moving_scene_moves_changes_and_stays_legal() -> None:
    """Over 3000 steps: 1 to 3 objects inside the frame and apart, small steps, and objects come and go."""
    moving = world.MovingScene(seed=3, size_px=64)
    counts, casts = set(), set()
    before = moving.truth()
    for _ in range(3000):
        moving.step()
        scene = moving.truth()
        counts.add(len(scene.objects))
        casts.add(frozenset(scene.pairs))
        assert [item.x for item in scene.objects] == sorted(item.x for item in scene.objects)
        for item in scene.objects:
            assert item.radius - 1e-9 <= item.x <= 1 - item.radius + 1e-9
            assert item.radius - 1e-9 <= item.y <= 1 - item.radius + 1e-9
        for one, two in itertools.combinations(scene.objects, 2):
            assert math.dist((one.x, one.y), (two.x, two.y)) >= one.radius + two.radius
        old = {item.pair: item for item in before.objects}
        for item in scene.objects:
            if item.pair in old:
                step = math.dist((item.x, item.y), (old[item.pair].x, old[item.pair].y))
                assert step <= world.MovingScene.SPEED[1] + 1e-9
        before = scene
    assert counts == {1, 2, 3}
    assert len(casts) > 10


def test_moving_scene_frames_repeat_with_the_seed() -> None:
    """Two cameras of one seed show the same film; the picture changes from step to step."""
    one, two = world.MovingScene(seed=8, size_px=64), world.MovingScene(seed=8, size_px=64)
    first = one.draw()
    for _ in range(5):
        one.step()
        two.step()
    assert one.draw().shape == (64, 64, 3)
    assert one.draw().dtype == np.uint8
    assert one.draw().tobytes() == two.draw().tobytes()
    assert one.draw().tobytes() != first.tobytes()


def test_demo_world_needs_no_torch() -> None:
    """World and language run on the board: importing them brings in neither torch nor transformers."""
    check = "import sys, edge_app.demo.language; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], timeout=60, check=False).returncode == 0
