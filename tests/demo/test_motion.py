"""What the demo camera looks at stays a legal scene at every step, and gives rules and change gates work to do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from edge_app.camera.scene import SceneSource
from edge_app.demo import world
from edge_app.demo.drawing import draw
from edge_app.demo.motion import Chronicle, MovingScene
from edge_app.demo.world import VARIETY, Scene, SceneObject

STEPS = 3000  # the first one or two thousand of each seed show every number of objects
ROUNDING = 1e-9


def film(seed: int, steps: int = STEPS) -> Iterator[Scene]:
    """The truth at the start and after every step."""
    moving = MovingScene(seed, size_px=64)
    yield moving.truth()
    for _ in range(steps):
        moving.step()
        yield moving.truth()


def identity(item: SceneObject) -> tuple[object, ...]:
    """What stays of an object while it moves."""
    return (item.pair, item.radius, item.paint, item.nearness)


@pytest.mark.parametrize("seed", [3, 4])
def test_every_step_is_a_legal_scene(seed: int) -> None:
    """One to six objects, inside the frame, left to right, none covering more of another than a random scene allows."""
    for scene in film(seed):
        assert 1 <= len(scene.objects) <= world.MOST_OBJECTS
        assert [item.x for item in scene.objects] == sorted(item.x for item in scene.objects)
        for item in scene.objects:
            assert item.radius - ROUNDING <= item.x <= 1 - item.radius + ROUNDING
            assert item.radius - ROUNDING <= item.y <= 1 - item.radius + ROUNDING
        for one, two in itertools.combinations(scene.objects, 2):
            assert world.overlap(one, two) <= VARIETY.overlap + ROUNDING


@pytest.mark.parametrize("seed", [3, 4])
def test_objects_come_and_go(seed: int) -> None:
    """One to six objects, more and fewer in turn; they change one at a time, at the stated times."""
    counts, changes = set(), []
    for step, (before, after) in enumerate(itertools.pairwise(film(seed))):
        counts.add(len(after.objects))
        old, new = ({identity(item) for item in scene.objects} for scene in (before, after))
        assert len(old ^ new) <= 1
        if old != new:
            changes.append(step)
    assert counts <= set(range(1, world.MOST_OBJECTS + 1))
    assert len(counts) > 3
    assert len(changes) > 15
    assert min(np.diff(changes)) >= MovingScene.STEPS_BETWEEN_CHANGES[0]


def test_newcomers_stand_apart_from_the_others() -> None:
    """A newcomer appears on free ground and is of a pair that is not there, so that nobody takes it for another."""
    newcomers = 0
    for before, after in itertools.pairwise(film(5)):
        old = {identity(item) for item in before.objects}
        for item in after.objects:
            if identity(item) not in old:
                newcomers += 1
                assert item.pair not in before.pairs
                assert all(world.overlap(item, other) < 0 for other in after.objects if other is not item)
    assert newcomers > 5


def test_steps_are_small_and_nothing_stands_still_for_long() -> None:
    """Each object moves by the greatest speed at most; in a hundred steps it is somewhere else."""
    scenes = list(film(3, 1000))
    tracks: dict[tuple[object, ...], list[tuple[float, float]]] = {}
    for scene in scenes:
        for item in scene.objects:
            tracks.setdefault(identity(item), []).append((item.x, item.y))
    for track in tracks.values():
        for one, two in itertools.pairwise(track):
            assert math.dist(one, two) <= MovingScene.SPEED[1] + ROUNDING
        for one, two in zip(track, track[100:], strict=False):
            assert one != two


def test_objects_pass_each_other() -> None:
    """They move one above the other, so that who is left of whom changes between the comings and goings."""
    orders: dict[frozenset[tuple[object, ...]], set[tuple[world.Pair, ...]]] = {}
    for scene in film(3):
        orders.setdefault(frozenset(map(identity, scene.objects)), set()).add(scene.pairs)
    assert max(map(len, orders.values())) >= 3


def test_objects_move_in_front_of_one_another() -> None:
    """What was apart comes to overlap, so that captions say "in front of" and "behind"."""
    begun = 0
    for before, after in itertools.pairwise(film(3)):
        old = {identity(item): item for item in before.objects}
        stayed = [item for item in after.objects if identity(item) in old]
        for one, two in itertools.combinations(stayed, 2):
            apart = world.overlap(old[identity(one)], old[identity(two)]) <= 0
            begun += apart and world.overlap(one, two) > 0
    assert begun > 3


def test_frames_repeat_with_the_seed() -> None:
    """Two cameras of one seed show the same film, the picture changes from step to step, another seed is another."""
    one, two, other = (MovingScene(seed, size_px=64) for seed in (8, 8, 9))
    first = one.draw()
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    for _ in range(200):
        for moving in (one, two, other):
            moving.step()
    assert one.truth() == two.truth()
    assert one.draw().tobytes() == two.draw().tobytes()
    assert one.draw().tobytes() != first.tobytes()
    assert one.draw().tobytes() != other.draw().tobytes()


def test_ground_and_light_stay_while_objects_move() -> None:
    """A camera on a wall: only the sensor's noise is new in each frame."""
    looks = [scene.look for scene in film(6, 100)]
    assert len({look.ground for look in looks}) == 1
    assert len({(look.shadow, look.light_deg, look.exposure, look.cast, look.blur) for look in looks}) == 1
    assert len({look.noise_seed for look in looks}) == len(looks)


def test_chronicle_knows_what_each_frame_of_the_camera_shows() -> None:
    """Frame 1 is the first one read; drawing the chronicle's truth gives the camera's very picture, in any order."""
    source = SceneSource("seed=33", size_px=64, fps=10)
    frames = [source.read() for _ in range(200)]
    chronicle = Chronicle(33)
    for frame_id in (150, 1, 2, 200, 150):
        assert np.array_equal(draw(chronicle.truth(frame_id), 64), frames[frame_id - 1])
