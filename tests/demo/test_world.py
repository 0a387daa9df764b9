"""What may be in a scene, and what training must never see."""

from __future__ import annotations

import colorsys
import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edge_app.demo import world
from edge_app.demo.world import VARIETY, Scene, SceneObject, Span
from tests.demo.scenes import thing, twins_of


def scenes(number: int, seed: int = 0) -> list[Scene]:
    """Scenes of 0 to 6 objects in turn, of any pair."""
    rng = np.random.default_rng(seed)
    return [world.random_scene(rng, index % (world.MOST_OBJECTS + 1)) for index in range(number)]


def within(value: float, span: Span) -> bool:
    return span[0] - 1e-9 <= value <= span[1] + 1e-9


def test_world_is_rich_enough_for_the_demo() -> None:
    """At least 8 colours and 6 shapes, every pair of them, and room for six objects."""
    assert len(world.COLOURS) >= 8
    assert len(world.SHAPES) >= 6
    assert len(set(world.PAIRS)) == len(world.COLOURS) * len(world.SHAPES)
    assert world.MOST_OBJECTS == 6


def test_what_is_withheld_can_be_learnt_from_the_rest() -> None:
    """One withheld pair a shape, each of another colour; every colour and shape is still shown in other pairs."""
    assert sorted(shape for _, shape in world.WITHHELD_PAIRS) == sorted(world.SHAPES)
    assert len({colour for colour, _ in world.WITHHELD_PAIRS}) == len(world.WITHHELD_PAIRS)
    assert not set(world.WITHHELD_PAIRS) & set(world.TRAINING_PAIRS)
    assert {colour for colour, _ in world.TRAINING_PAIRS} == set(world.COLOURS)
    assert {shape for _, shape in world.TRAINING_PAIRS} == set(world.SHAPES)
    assert set(world.WITHHELD_TWINS) <= set(world.TRAINING_PAIRS), "shown alone, so that only their number is new"


def test_training_scenes_never_show_what_is_withheld() -> None:
    """Given what training gives: no withheld pair at all, and no withheld twin more than once."""
    allowed = [pair for pair in world.TRAINING_PAIRS if pair not in world.WITHHELD_TWINS]
    rng = np.random.default_rng(0)
    shown: set[world.Pair] = set()
    twins: set[world.Pair] = set()
    for _ in range(3000):
        scene = world.random_scene(rng, int(rng.integers(2, 7)), world.TRAINING_PAIRS, twins=allowed)
        shown |= set(scene.pairs)
        twins |= set(twins_of(scene.pairs))
    assert shown == set(world.TRAINING_PAIRS)
    assert twins == set(allowed)


def test_objects_differ_but_for_the_twins() -> None:
    """A fifth of the scenes has one pair two or three times, as `Variety.twins` says; no scene has two such pairs."""
    rng = np.random.default_rng(1)
    most = []
    for _ in range(2000):
        pairs = world.random_scene(rng, 4).pairs
        twins = twins_of(pairs)
        assert len(twins) <= 1
        most.append(pairs.count(twins[0]) if twins else 1)
    assert set(most) == {1, 2, 3}
    assert sum(times > 1 for times in most) / 2000 == pytest.approx(VARIETY.twins, abs=0.03)


def test_no_twins_are_drawn_where_none_are_allowed() -> None:
    """With an empty `twins` all objects of a scene differ."""
    rng = np.random.default_rng(2)
    assert not any(twins_of(world.random_scene(rng, 6, twins=()).pairs) for _ in range(200))


def test_every_random_scene_obeys_its_rules() -> None:
    """The count asked for, left to right, inside the frame, and any two objects fit: order and cover are clear."""
    for index, scene in enumerate(scenes(420)):
        assert len(scene.objects) == index % 7
        assert [item.x for item in scene.objects] == sorted(item.x for item in scene.objects)
        for one, two in itertools.combinations(scene.objects, 2):
            assert abs(one.x - two.x) >= VARIETY.least_dx
            assert world.overlap(one, two) <= VARIETY.overlap
        for item in scene.objects:
            assert item.radius <= item.x <= 1 - item.radius
            assert item.radius <= item.y <= 1 - item.radius


def test_objects_vary_within_their_ranges() -> None:
    """Sizes, angles, slant, perspective and paint stay in the ranges of `Variety`, and use most of them."""
    objects = [item for scene in scenes(700, seed=3) for item in scene.objects]
    textures = [item.paint.texture for item in objects]
    assert set(textures) == set(world.TEXTURES)
    assert 1 - textures.count("plain") / len(textures) == pytest.approx(VARIETY.textured, abs=0.05)
    ranges: list[tuple[list[float], Span]] = [
        ([item.radius for item in objects], VARIETY.radius),
        ([item.angle_deg for item in objects], VARIETY.angle_deg),
        ([item.tilt for item in objects], VARIETY.tilt),
        ([item.vanishing for item in objects], (0, VARIETY.vanishing)),
        ([item.nearness for item in objects], (0, 1)),
        ([item.paint.tone for item in objects], VARIETY.tone),
        ([item.paint.cycles for item in objects], VARIETY.texture_cycles),
        ([item.paint.shade for item in objects], VARIETY.shade),
    ]
    for values, span in ranges:
        assert all(within(value, span) for value in values)
        assert max(values) - min(values) > 0.9 * (span[1] - span[0])


def test_looks_vary_within_their_ranges() -> None:
    """Ground, light and camera stay in the ranges of `Variety`; half of the frames have litter, half are JPEG."""
    rng = np.random.default_rng(4)
    looks = [world.random_look(rng) for _ in range(600)]
    assert {look.ground.kind for look in looks} == set(world.GROUNDS)
    ranges: list[tuple[list[float], Span]] = [
        ([look.ground.contrast for look in looks], VARIETY.ground_contrast),
        ([look.ground.gradient for look in looks], VARIETY.gradient),
        ([look.shadow for look in looks], VARIETY.shadow),
        ([look.shade for look in looks], VARIETY.shadow),
        ([look.exposure for look in looks], VARIETY.exposure),
        ([factor for look in looks for factor in look.cast], (1 - VARIETY.cast, 1 + VARIETY.cast)),
        ([look.blur for look in looks], VARIETY.blur),
        ([look.noise for look in looks], VARIETY.noise),
        ([float(look.jpeg_quality) for look in looks if look.jpeg_quality is not None], VARIETY.jpeg_quality),
    ]
    for values, span in ranges:
        assert all(within(value, span) for value in values)
        assert max(values) - min(values) > 0.9 * (span[1] - span[0])
    assert {look.ground.clutter for look in looks} == set(range(VARIETY.clutter + 1))
    assert sum(look.ground.clutter > 0 for look in looks) / 600 == pytest.approx(0.5, abs=0.07)
    assert sum(look.jpeg_quality is not None for look in looks) / 600 == pytest.approx(VARIETY.jpeg, abs=0.07)


def test_objects_of_a_crowd_are_smaller_and_some_overlap() -> None:
    """Six fit into one frame: the largest radius shrinks by 7 % an object; some of them still cover one another."""
    rng = np.random.default_rng(5)
    crowds = [world.random_scene(rng, 6).objects for _ in range(60)]
    most = VARIETY.radius[1] * (1 - 5 * VARIETY.crowding)
    assert max(item.radius for crowd in crowds for item in crowd) <= most
    deepest = [max(world.overlap(*two) for two in itertools.combinations(crowd, 2)) for crowd in crowds]
    assert sum(depth > 0 for depth in deepest) > 20


def test_scene_of_shows_just_the_pairs_it_is_given() -> None:
    """Twins included; the places are at random."""
    pairs = [("red", "star"), ("cyan", "star"), ("cyan", "star"), ("pink", "ring"), ("blue", "cross"), ("red", "star")]
    rng = np.random.default_rng(6)
    orders = {world.scene_of(rng, pairs).pairs for _ in range(10)}
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(pairs))}
    assert len(orders) > 1


@pytest.mark.parametrize(
    ("one", "other", "depth"),
    [
        (thing("red star", 0.30), thing("red star", 0.45), 0.5),  # (0.1 + 0.1 - 0.15) / 0.1
        (thing("red star", 0.30), thing("red star", 0.50), 0.0),  # they touch
        (thing("red star", 0.30), thing("red star", 0.60), -1.0),  # 0.1 apart
        (thing("red star", 0.30), thing("red star", 0.50, radius=0.15), 0.5),  # (0.25 - 0.2) / 0.1: of the smaller
        (thing("red star", 0.30, 0.30), thing("red star", 0.42, 0.46), 0.0),  # hypot(0.12, 0.16) = 0.2
    ],
)
def test_overlap_by_hand(one: SceneObject, other: SceneObject, depth: float) -> None:
    """The depth to which the circles reach into each other over the smaller radius, whichever comes first."""
    assert world.overlap(one, other) == pytest.approx(depth)
    assert world.overlap(other, one) == pytest.approx(depth)


def test_fits_by_hand() -> None:
    """Refused are too deep an overlap, and centres so near along x that left and right would be a matter of taste."""
    one = thing("red star", 0.3, 0.3)
    assert world.fits(one, thing("red star", 0.46, 0.3))  # overlap 0.4
    assert not world.fits(one, thing("red star", 0.44, 0.3))  # overlap 0.6
    assert not world.fits(one, thing("red star", 0.34, 0.8))  # 0.04 along x
    assert world.fits(one, thing("red star", 0.36, 0.8))
    assert world.fits(one, thing("red star", 0.34, 0.8), replace(VARIETY, least_dx=0.01))


@pytest.mark.parametrize("count", [-1, world.MOST_OBJECTS + 1])
def test_random_scene_refuses_a_count_out_of_range(count: int) -> None:
    """The message names the number asked for and the range."""
    with pytest.raises(ValueError, match=f"{count} objects was asked for; choose 0 to {world.MOST_OBJECTS}"):
        world.random_scene(np.random.default_rng(0), count)


def test_random_scene_refuses_more_objects_than_pairs() -> None:
    """Objects differ, so two pairs make no scene of three."""
    with pytest.raises(ValueError, match="3 objects was asked for; choose 0 to 2"):
        world.random_scene(np.random.default_rng(0), 3, world.PAIRS[:2])


def test_one_seed_gives_one_scene() -> None:
    """Everything random comes from the generator that is handed over."""
    one, same, other = (world.random_scene(np.random.default_rng(seed), 6) for seed in (5, 5, 6))
    assert one == same
    assert one != other


def test_random_paint_keeps_its_colour_name() -> None:
    """Whatever the variety does to a paint, the nearest hue among the colours is its own, by 10 degrees at least.

    Measured over 30 paints of each pair: 14.7 degrees.
    """
    rng = np.random.default_rng(1)
    hues = {name: hue for name, (hue, _, _) in world.COLOURS.items()}
    for colour, shape in world.PAIRS * 30:
        blue, green, red = (level / 255 for level in world.random_object(rng, (colour, shape)).paint.bgr)
        hue = colorsys.rgb_to_hsv(red, green, blue)[0] * 360
        away = {name: abs((hues[name] - hue + 180) % 360 - 180) for name in hues}
        assert all(away[colour] + 10 < away[name] for name in hues if name != colour), (colour, hue)


@pytest.mark.parametrize(
    ("hue_deg", "saturation", "value"), [*itertools.product((0, 27, 60, 183, 300, 359, -6), (0, 0.5, 1.2), (0.3, 1))]
)
def test_hsv_becomes_bgr(hue_deg: float, saturation: float, value: float) -> None:
    """The closed form agrees with colorsys; hues wrap round, saturation is clipped."""
    expected = colorsys.hsv_to_rgb(hue_deg % 360 / 360, min(saturation, 1), value)[::-1]
    assert all(
        math.isclose(level, 255 * share, abs_tol=0.51)
        for level, share in zip(world._bgr(hue_deg, saturation, value), expected, strict=True)
    )


def test_demo_world_needs_no_torch() -> None:
    """World, drawing and language run on the board: importing them brings in neither torch nor transformers."""
    check = (
        "import sys, edge_app.demo.motion, edge_app.demo.questions\n"
        "sys.exit(bool({'torch', 'transformers', 'export'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", check], timeout=120, check=False).returncode == 0
