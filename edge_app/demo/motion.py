"""What the demo camera looks at: objects that drift, turn back at the edge, come and go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge_app.demo.drawing import draw
from edge_app.demo.world import (
    MOST_OBJECTS,
    PAIRS,
    VARIETY,
    Pair,
    Scene,
    SceneObject,
    fits,
    overlap,
    random_object,
    random_scene,
)


class MovingScene:
    """One to six objects in motion; `truth` says at every step what the frame shows."""

    SPEED = (0.002, 0.007)  # of the frame's side a step
    STEPS_BETWEEN_CHANGES = (60, 150)
    PLACES_TRIED = 30  # for a newcomer

    def __init__(self, seed: int, size_px: int = 480, pairs: Sequence[Pair] = PAIRS) -> None:
        """Begin with two to four objects; `pairs` are the colours and shapes that come."""
        self._rng = np.random.default_rng(seed)
        self._size_px = size_px
        self._pairs = pairs
        start = random_scene(self._rng, int(self._rng.integers(2, 5)), pairs)
        self._look = start.look
        self._objects = list(start.objects)
        self._velocities = [self._random_velocity() for _ in self._objects]  # [dx, dy] of each object
        self._steps_to_change = self._random_wait()

    def step(self) -> None:
        """Move everything by one frame's worth; now and then add or remove one object."""
        for index, item in enumerate(self._objects):
            self._objects[index] = self._moved(index, item)
        self._look = replace(self._look, noise_seed=int(self._rng.integers(2**31)))
        self._steps_to_change -= 1
        if self._steps_to_change <= 0:
            self._add_or_remove()
            self._steps_to_change = self._random_wait()

    def draw(self) -> NDArray[np.uint8]:
        """The present frame, [size_px, size_px, 3] BGR."""
        return draw(self.truth(), self._size_px)

    def truth(self) -> Scene:
        """What the present frame shows, objects from left to right."""
        return Scene(tuple(sorted(self._objects, key=lambda item: item.x)), self._look)

    def _moved(self, index: int, item: SceneObject) -> SceneObject:
        """The object one step on; it turns back at the frame's edge and where it would cover too much of another.

        Objects pass above and in front of one another, so that their order changes while they move.
        """
        velocity = self._velocities[index]
        for axis, place in enumerate((item.x, item.y)):
            outward = math.copysign(1.0, place - 0.5)
            if not item.radius <= place + velocity[axis] <= 1 - item.radius:
                velocity[axis] = -outward * abs(velocity[axis])
        moved = replace(item, x=item.x + float(velocity[0]), y=item.y + float(velocity[1]))
        others = self._objects[:index] + self._objects[index + 1 :]
        if all(overlap(moved, other) <= VARIETY.overlap for other in others):
            return moved
        self._velocities[index] = self._random_velocity()
        return item

    def _add_or_remove(self) -> None:
        count = len(self._objects)
        if count > 1 and (count == MOST_OBJECTS or self._rng.random() < 0.5):
            index = int(self._rng.integers(count))
            del self._objects[index], self._velocities[index]
            return
        absent = [pair for pair in self._pairs if pair not in self.truth().pairs]
        pair = absent[int(self._rng.integers(len(absent)))]
        for _ in range(self.PLACES_TRIED):  # none free: it comes at another change
            newcomer = random_object(self._rng, pair, among=count + 1)
            if all(fits(newcomer, other) and overlap(newcomer, other) < 0 for other in self._objects):
                self._objects.append(newcomer)
                self._velocities.append(self._random_velocity())
                return

    def _random_velocity(self) -> NDArray[np.float64]:
        angle = self._rng.uniform(0, 2 * math.pi)
        return self._rng.uniform(*self.SPEED) * np.array([math.cos(angle), math.sin(angle)])

    def _random_wait(self) -> int:
        return int(self._rng.integers(*self.STEPS_BETWEEN_CHANGES))


class Chronicle:
    """What each frame of a scene camera shows, by the frame_id of its results.

    A camera of the same seed takes one step a frame, from its start on: a camera that was started again begins anew,
    while frame ids go on.
    """

    def __init__(self, seed: int, pairs: Sequence[Pair] = PAIRS) -> None:
        self._moving = MovingScene(seed, pairs=pairs)
        self._truths: list[Scene] = []

    def truth(self, frame_id: int) -> Scene:
        """The scene of the frame `frame_id`, counted from 1."""
        while len(self._truths) < frame_id:
            self._moving.step()
            self._truths.append(self._moving.truth())
        return self._truths[frame_id - 1]
