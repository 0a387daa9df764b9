"""The demo's world: coloured shapes on a plain ground, drawn from a description that is also the truth.

A `Scene` says what there is; `draw` shows it; nothing else knows how a shape looks. Positions and sizes are fractions
of the frame's side, so one scene can be drawn at any size. Every range that decides how varied the world is stands in
`Variety`: training, evaluation and the demo camera all read it there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Pair = tuple[str, str]  # (colour, shape)

# Hue in degrees, saturation and value in 0..1.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0, 0.92, 0.85),
    "orange": (27, 0.95, 0.98),
    "yellow": (54, 0.90, 0.97),
    "green": (128, 0.80, 0.62),
    "cyan": (183, 0.80, 0.90),
    "blue": (224, 0.85, 0.85),
    "purple": (276, 0.75, 0.65),
    "pink": (330, 0.45, 1.00),
}
SHAPES: tuple[str, ...] = ("circle", "square", "triangle", "star", "cross", "ring")
PAIRS: tuple[Pair, ...] = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)

# Never shown in training: one for each shape, each of another colour. They tell whether a model has learnt colours and
# shapes or a list of pairs.
WITHHELD_PAIRS: tuple[Pair, ...] = (
    ("orange", "circle"),
    ("purple", "square"),
    ("blue", "triangle"),
    ("red", "star"),
    ("yellow", "cross"),
    ("green", "ring"),
)
TRAINING_PAIRS: tuple[Pair, ...] = tuple(pair for pair in PAIRS if pair not in WITHHELD_PAIRS)

MOST_OBJECTS = 3


@dataclass(frozen=True)
class Variety:
    """How far scenes differ from one another; each range is (least, most)."""

    radius: tuple[float, float] = (0.11, 0.19)  # of the frame's side
    angle_deg: tuple[float, float] = (-15.0, 15.0)
    hue_shift_deg: tuple[float, float] = (-6.0, 6.0)
    paint_scale: tuple[float, float] = (0.92, 1.05)  # factor on an object's saturation and value
    ground_value: tuple[float, float] = (0.10, 0.92)
    ground_saturation: tuple[float, float] = (0.0, 0.18)
    gradient: tuple[float, float] = (-0.15, 0.15)  # change of the ground's value across the frame
    exposure: tuple[float, float] = (0.80, 1.15)
    blur: tuple[float, float] = (0.0, 0.008)  # standard deviation, of the frame's side
    noise: tuple[float, float] = (0.0, 9.0)  # standard deviation, grey levels of 255
    gap: float = 0.02  # least free space between two objects, of the frame's side
    least_dx: float = 0.10  # least distance of two centres along x, so that "left to right" is never a matter of taste


VARIETY = Variety()


@dataclass(frozen=True)
class SceneObject:
    """One shape: `x`, `y` (centre) and `radius` are fractions of the frame's side, y pointing down."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    angle_deg: float = 0.0
    paint_bgr: tuple[int, int, int] = (0, 0, 0)

    @property
    def pair(self) -> Pair:
        """Colour and shape: what a caption can name."""
        return (self.colour, self.shape)


@dataclass(frozen=True)
class Look:
    """What the frame shows besides the objects: the ground, and the faults of a camera."""

    ground_bgr: tuple[int, int, int] = (200, 200, 200)
    gradient: float = 0.0
    gradient_deg: float = 0.0
    exposure: float = 1.0
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0


@dataclass(frozen=True)
class Scene:
    """Objects from left to right, and the look of the frame."""

    objects: tuple[SceneObject, ...]
    look: Look = field(default_factory=Look)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of its objects, left to right."""
        return tuple(item.pair for item in self.objects)


def random_scene(
    rng: np.random.Generator, count: int, pairs: Sequence[Pair] = PAIRS, variety: Variety = VARIETY
) -> Scene:
    """A scene of `count` different objects, each (colour, shape) taken from `pairs`, none touching another.

    Raises ValueError when `count` is negative, above `MOST_OBJECTS`, or above the number of pairs.
    """
    if not 0 <= count <= min(MOST_OBJECTS, len(pairs)):
        raise ValueError(
            f"A scene of {count} objects was asked for; choose 0 to {min(MOST_OBJECTS, len(pairs))} objects."
        )
    chosen = [pairs[index] for index in rng.choice(len(pairs), size=count, replace=False)]
    placed: list[SceneObject] = []
    while len(placed) < count:
        placed = _place(rng, chosen, variety)
    return Scene(tuple(sorted(placed, key=lambda item: item.x)), random_look(rng, variety))


def random_look(rng: np.random.Generator, variety: Variety = VARIETY) -> Look:
    """A ground of low saturation, and mild faults of exposure, focus and sensor."""
    ground = _bgr(rng.uniform(0, 360), rng.uniform(*variety.ground_saturation), rng.uniform(*variety.ground_value))
    return Look(
        ground_bgr=ground,
        gradient=rng.uniform(*variety.gradient),
        gradient_deg=rng.uniform(0, 360),
        exposure=rng.uniform(*variety.exposure),
        blur=rng.uniform(*variety.blur),
        noise=rng.uniform(*variety.noise),
        noise_seed=int(rng.integers(2**31)),
    )


def random_object(rng: np.random.Generator, pair: Pair, variety: Variety = VARIETY) -> SceneObject:
    """An object of this colour and shape, anywhere in the frame, its paint a little off the colour's norm."""
    colour, shape = pair
    hue, saturation, value = COLOURS[colour]
    paint = _bgr(
        hue + rng.uniform(*variety.hue_shift_deg),
        saturation * rng.uniform(*variety.paint_scale),
        value * rng.uniform(*variety.paint_scale),
    )
    radius = rng.uniform(*variety.radius)
    x, y = rng.uniform(radius, 1 - radius, size=2)
    return SceneObject(colour, shape, float(x), float(y), radius, rng.uniform(*variety.angle_deg), paint)


def draw(scene: Scene, size_px: int) -> NDArray[np.uint8]:
    """The frame of a scene, [size_px, size_px, 3] BGR. The same scene and size give the same bytes."""
    look = scene.look
    image = _ground(look, size_px)
    for item in scene.objects:
        contours = [_to_fixed_point(points) for points in _contours_px(item, size_px)]
        # Several contours in one call are filled even-odd: an inner one is a hole.
        cv2.fillPoly(image, contours, item.paint_bgr, cv2.LINE_AA, _FRACTION_BITS)
    if look.blur * size_px > 0.3:  # a narrower kernel changes nothing
        cv2.GaussianBlur(image, (0, 0), look.blur * size_px, dst=image)
    noise = np.random.default_rng(look.noise_seed).standard_normal((size_px, size_px, 1), dtype=np.float32)
    noisy = image * np.float32(look.exposure) + noise * np.float32(look.noise)  # [S, S, 3] + [S, S, 1]
    return np.clip(noisy, 0, 255, out=noisy).astype(np.uint8)


def object_map(scene: Scene, size_px: int) -> NDArray[np.uint8]:
    """Which object covers each pixel, [size_px, size_px]: 0 for the ground, i + 1 for `scene.objects[i]`.

    A hole belongs to its object: that something is a ring shows in its middle too.
    """
    labels = np.zeros((size_px, size_px), np.uint8)
    for number, item in enumerate(scene.objects, start=1):
        outline = _to_fixed_point(_contours_px(item, size_px)[0])
        cv2.fillPoly(labels, [outline], number, cv2.LINE_8, _FRACTION_BITS)
    return labels


class MovingScene:
    """What the demo camera looks at: one to three objects that drift, bounce, come and go."""

    SPEED = (0.002, 0.007)  # of the frame's side a step
    STEPS_BETWEEN_CHANGES = (60, 150)

    def __init__(self, seed: int, size_px: int = 480) -> None:
        self._rng = np.random.default_rng(seed)
        self._size_px = size_px
        start = random_scene(self._rng, int(self._rng.integers(1, MOST_OBJECTS + 1)))
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
        """The object one step on; it turns back at the frame's edge and stays where another one is in its way."""
        velocity = self._velocities[index]
        for axis, place in enumerate((item.x, item.y)):
            outward = math.copysign(1.0, place - 0.5)
            if not item.radius <= place + velocity[axis] <= 1 - item.radius:
                velocity[axis] = -outward * abs(velocity[axis])
        moved = replace(item, x=item.x + float(velocity[0]), y=item.y + float(velocity[1]))
        others = self._objects[:index] + self._objects[index + 1 :]
        if all(_apart(moved, other, VARIETY.gap) for other in others):
            return moved
        self._velocities[index] = self._random_velocity()
        return item

    def _add_or_remove(self) -> None:
        count = len(self._objects)
        grow = count == 1 or (count < MOST_OBJECTS and self._rng.random() < 0.5)
        if not grow:
            index = int(self._rng.integers(count))
            del self._objects[index], self._velocities[index]
            return
        absent = [pair for pair in PAIRS if pair not in self.truth().pairs]
        newcomer = random_object(self._rng, absent[int(self._rng.integers(len(absent)))])
        if all(_apart(newcomer, other, VARIETY.gap) for other in self._objects):  # else: it comes at another change
            self._objects.append(newcomer)
            self._velocities.append(self._random_velocity())

    def _random_velocity(self) -> NDArray[np.float64]:
        angle = self._rng.uniform(0, 2 * math.pi)
        return self._rng.uniform(*self.SPEED) * np.array([math.cos(angle), math.sin(angle)])

    def _random_wait(self) -> int:
        return int(self._rng.integers(*self.STEPS_BETWEEN_CHANGES))


# Polygons are given to OpenCV in fixed point, 1/16 pixel, so that a drifting shape moves smoothly.
_FRACTION_BITS = 4


def _polygon(corners: int, radii: Sequence[float] = (1.0,), turn_deg: float = -90.0) -> NDArray[np.float64]:
    """`corners` points round the origin, the radii taken in turn; the first one points up. [corners, 2]"""
    angles = np.radians(turn_deg) + np.arange(corners) * (2 * np.pi / corners)
    radius = np.resize(np.asarray(radii, float), corners)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _cross(arm: float, length: float = 0.95) -> NDArray[np.float64]:
    """A plus sign whose arms are 2 `arm` wide and reach `length` from the middle. [12, 2]"""
    quarter = np.array([(arm, -arm), (length, -arm), (length, arm)])  # the right arm; the others are its turns
    turn = np.array([(0.0, 1.0), (-1.0, 0.0)])  # row vector @ turn: a quarter turn
    return np.concatenate([quarter, quarter @ turn, quarter @ turn @ turn, quarter @ turn @ turn @ turn])


# Each shape's contours in units of its radius; the first is the outline, any further one a hole.
_CONTOURS: dict[str, list[NDArray[np.float64]]] = {
    "circle": [0.95 * _polygon(48)],
    "square": [_polygon(4, (1.15,), turn_deg=-45.0)],
    "triangle": [_polygon(3, (1.12,))],
    "star": [_polygon(10, (1.1, 0.46))],
    "cross": [_cross(0.32)],
    "ring": [_polygon(48), 0.55 * _polygon(48)],
}


def _contours_px(item: SceneObject, size_px: int) -> list[NDArray[np.float64]]:
    """The object's contours, each [points, 2] as (x, y) in pixels."""
    angle = math.radians(item.angle_deg)
    turn = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    centre = np.array([item.x, item.y])
    return [(points @ turn * item.radius + centre) * size_px for points in _CONTOURS[item.shape]]


def _to_fixed_point(points: NDArray[np.float64]) -> NDArray[np.int32]:
    # OpenCV's integer coordinates name pixel centres, hence the half pixel.
    return np.rint((points - 0.5) * (1 << _FRACTION_BITS)).astype(np.int32)


def _ground(look: Look, size_px: int) -> NDArray[np.uint8]:
    """The empty frame: one colour, its brightness changing evenly in one direction."""
    along = np.linspace(-0.5, 0.5, size_px, dtype=np.float32)
    angle = math.radians(look.gradient_deg)
    slope = along[None, :] * math.cos(angle) + along[:, None] * math.sin(angle)  # [1, S] + [S, 1] -> [S, S]
    light = (1 + look.gradient * slope).astype(np.float32)
    ground = light[:, :, None] * np.asarray(look.ground_bgr, np.float32)  # [S, S, 1] * [3] -> [S, S, 3]
    return np.clip(ground, 0, 255).astype(np.uint8)


def _place(rng: np.random.Generator, pairs: Sequence[Pair], variety: Variety) -> list[SceneObject]:
    """The objects of these pairs at free places; fewer when one found none, which the caller tries again."""
    placed: list[SceneObject] = []
    for pair in pairs:
        for _ in range(12):
            item = random_object(rng, pair, variety)
            if all(_apart(item, other, variety.gap) and abs(item.x - other.x) >= variety.least_dx for other in placed):
                placed.append(item)
                break
        else:
            return placed
    return placed


def _apart(one: SceneObject, other: SceneObject, gap: float) -> bool:
    return math.hypot(one.x - other.x, one.y - other.y) >= one.radius + other.radius + gap


def _bgr(hue_deg: float, saturation: float, value: float) -> tuple[int, int, int]:
    """Hue in degrees, saturation and value in 0..1 (clipped), as a BGR triple of 0..255."""
    hue, saturation, value = hue_deg % 360, min(max(saturation, 0), 1), min(max(value, 0), 1)

    def channel(offset: float) -> int:
        position = (offset + hue / 60) % 6
        return round(255 * (value - value * saturation * max(0.0, min(position, 4 - position, 1))))

    return channel(1), channel(3), channel(5)  # the closed form of HSV to RGB has blue at 1, green at 3, red at 5
