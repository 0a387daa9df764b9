"""The demo's world: what a scene of coloured shapes consists of, and how one is made up at random.

A `Scene` is the truth that captions, questions and rules are judged by; `edge_app.demo.drawing` shows it. Positions and
sizes are fractions of the frame's side, so one scene can be drawn at any size. Every range that decides how varied the
world is stands in `Variety`: training, evaluation and the demo camera all read it there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Pair = tuple[str, str]  # (colour, shape)
Bgr = tuple[int, int, int]
Span = tuple[float, float]  # (least, below): from the first number on, never the second

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
# Shown in training, but never twice in one scene. They tell whether a model can count what it has only seen alone.
WITHHELD_TWINS: tuple[Pair, ...] = (
    ("red", "circle"),
    ("green", "square"),
    ("yellow", "triangle"),
    ("cyan", "star"),
    ("purple", "cross"),
    ("pink", "ring"),
)
TRAINING_TWINS: tuple[Pair, ...] = tuple(pair for pair in TRAINING_PAIRS if pair not in WITHHELD_TWINS)

MOST_OBJECTS = 6
TEXTURES: tuple[str, ...] = ("plain", "stripes", "checks", "dots")
GROUNDS: tuple[str, ...] = ("plain", "clouds", "planks", "tiles")


@dataclass(frozen=True)
class Variety:
    """How far scenes differ from one another; each range is (least, below)."""

    radius: Span = (0.085, 0.17)  # of the frame's side
    crowding: float = 0.07  # the largest radius shrinks by this share with each object after the first
    angle_deg: Span = (-15.0, 15.0)
    tilt: Span = (0.80, 1.0)  # an object seen at a slant: its narrow side over its wide one
    vanishing: float = 0.12  # perspective: how much larger its near side looks than its middle
    hue_shift_deg: Span = (-6.0, 6.0)
    paint_scale: Span = (0.92, 1.05)  # factor on an object's saturation and value
    textured: float = 0.5  # share of objects with a texture
    tone: Span = (0.72, 0.88)  # value of a texture's second colour over the first
    texture_cycles: Span = (1.0, 2.0)  # periods of a texture over an object's radius
    shade: Span = (0.0, 0.2)  # change of an object's value across it
    overlap: float = 0.5  # how deep one object may reach into another, of the smaller one's radius
    # Least distance of two centres along x, so that it is plain who is left of whom. It holds for random scenes; in a
    # moving one objects pass each other closer, and who judges its captions counts the objects without their order.
    least_dx: float = 0.05
    twins: float = 0.2  # share of scenes with one pair two or three times

    ground_value: Span = (0.10, 0.92)
    ground_saturation: Span = (0.0, 0.18)
    ground_contrast: Span = (0.05, 0.30)  # of clouds, planks and tiles
    gradient: Span = (-0.2, 0.2)  # change of the ground's value across the frame
    clutter: int = 10  # most pieces of grey litter behind the objects
    shadow: Span = (0.0, 0.45)  # darkness of the objects' shadows, and of one that falls across the frame

    exposure: Span = (0.75, 1.15)
    cast: float = 0.04  # white balance: most deviation of a channel
    blur: Span = (0.0, 0.009)  # standard deviation, of the frame's side
    noise: Span = (0.0, 10.0)  # standard deviation, grey levels of 255
    jpeg: float = 0.5  # share of frames that went through JPEG
    jpeg_quality: tuple[int, int] = (30, 95)  # the best that is drawn is 94


VARIETY = Variety()


@dataclass(frozen=True)
class Paint:
    """How an object's surface looks; the texture's second colour is `tone` times the first."""

    bgr: Bgr = (0, 0, 0)
    texture: str = "plain"
    tone: float = 0.8
    cycles: float = 1.5  # periods over the radius
    angle_deg: float = 0.0
    shade: float = 0.0  # change of value along `angle_deg`


@dataclass(frozen=True)
class SceneObject:
    """One shape: `x`, `y` (centre) and `radius` are fractions of the frame's side, y pointing down."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    angle_deg: float = 0.0
    tilt: float = 1.0  # narrow side over wide side
    tilt_deg: float = 0.0  # direction of the narrow side
    vanishing: float = 0.0
    nearness: float = 0.5  # 0..1; of two that overlap, the nearer one covers the other
    paint: Paint = field(default_factory=Paint)

    @property
    def pair(self) -> Pair:
        """Colour and shape: what a caption can name."""
        return (self.colour, self.shape)


@dataclass(frozen=True)
class Ground:
    """What is behind the objects; `seed` fixes the details."""

    kind: str = "plain"
    bgr: Bgr = (200, 200, 200)
    contrast: float = 0.0
    gradient: float = 0.0
    gradient_deg: float = 0.0
    clutter: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Look:
    """What the frame shows besides the objects: ground, light, and the faults of a camera."""

    ground: Ground = field(default_factory=Ground)
    shadow: float = 0.0  # darkness of the objects' shadows
    shade: float = 0.0  # darkness of a shadow across the frame
    light_deg: float = 45.0  # where shadows fall
    exposure: float = 1.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factor of each channel, BGR
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0
    jpeg_quality: int | None = None


@dataclass(frozen=True)
class Scene:
    """Objects from left to right, and the look of the frame."""

    objects: tuple[SceneObject, ...]
    look: Look = field(default_factory=Look)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs of its objects, left to right."""
        return tuple(item.pair for item in self.objects)


def overlap(one: SceneObject, other: SceneObject) -> float:
    """How deep two objects' circles reach into each other, of the smaller radius; negative when they are apart."""
    depth = one.radius + other.radius - math.hypot(one.x - other.x, one.y - other.y)
    return depth / min(one.radius, other.radius)


def random_scene(
    rng: np.random.Generator,
    count: int,
    pairs: Sequence[Pair] = PAIRS,
    variety: Variety = VARIETY,
    twins: Sequence[Pair] = PAIRS,
) -> Scene:
    """A scene of `count` objects, each (colour, shape) taken from `pairs`, none more than partly covered.

    Objects differ, but that now and then one of `twins` is there two or three times.

    Raises ValueError when `count` is negative, above `MOST_OBJECTS`, or above the number of pairs.
    """
    if not 0 <= count <= min(MOST_OBJECTS, len(pairs)):
        raise ValueError(
            f"A scene of {count} objects was asked for; choose 0 to {min(MOST_OBJECTS, len(pairs))} objects."
        )
    return scene_of(rng, _choose(rng, count, pairs, variety, twins), variety)


def scene_of(rng: np.random.Generator, pairs: Sequence[Pair], variety: Variety = VARIETY) -> Scene:
    """A scene of just these pairs, at random places."""
    placed: list[SceneObject] = []
    while len(placed) < len(pairs):
        placed = _place(rng, pairs, variety)
    return Scene(tuple(sorted(placed, key=lambda item: item.x)), random_look(rng, variety))


def random_object(rng: np.random.Generator, pair: Pair, variety: Variety = VARIETY, *, among: int = 1) -> SceneObject:
    """An object of this colour and shape, anywhere in the frame of `among` objects, its paint a little off the norm."""
    colour, shape = pair
    least, most = variety.radius
    radius = rng.uniform(least, max(least, most * (1 - variety.crowding * (among - 1))))
    x, y = rng.uniform(radius, 1 - radius, size=2)
    return SceneObject(
        colour,
        shape,
        float(x),
        float(y),
        radius,
        angle_deg=rng.uniform(*variety.angle_deg),
        tilt=rng.uniform(*variety.tilt),
        tilt_deg=rng.uniform(0, 180),
        vanishing=rng.uniform(0, variety.vanishing),
        nearness=rng.random(),
        paint=_random_paint(rng, colour, variety),
    )


def random_look(rng: np.random.Generator, variety: Variety = VARIETY) -> Look:
    """A ground of low saturation, a light, and mild faults of exposure, focus, sensor and compression."""
    ground = Ground(
        kind=GROUNDS[int(rng.integers(len(GROUNDS)))],
        bgr=_bgr(rng.uniform(0, 360), rng.uniform(*variety.ground_saturation), rng.uniform(*variety.ground_value)),
        contrast=rng.uniform(*variety.ground_contrast),
        gradient=rng.uniform(*variety.gradient),
        gradient_deg=rng.uniform(0, 360),
        clutter=max(0, int(rng.integers(-variety.clutter, variety.clutter + 1))),  # none in half of the frames
        seed=int(rng.integers(2**31)),
    )
    cast = 1 + rng.uniform(-variety.cast, variety.cast, size=3)
    return Look(
        ground=ground,
        shadow=rng.uniform(*variety.shadow),
        shade=max(0.0, rng.uniform(-variety.shadow[1], variety.shadow[1])),
        light_deg=rng.uniform(0, 360),
        exposure=rng.uniform(*variety.exposure),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        blur=rng.uniform(*variety.blur),
        noise=rng.uniform(*variety.noise),
        noise_seed=int(rng.integers(2**31)),
        jpeg_quality=int(rng.integers(*variety.jpeg_quality)) if rng.random() < variety.jpeg else None,
    )


def _choose(
    rng: np.random.Generator, count: int, pairs: Sequence[Pair], variety: Variety, twins: Sequence[Pair]
) -> list[Pair]:
    chosen = [pairs[index] for index in rng.choice(len(pairs), size=count, replace=False)]
    if count >= 2 and rng.random() < variety.twins and chosen[0] in twins:
        copies = 3 if count >= 3 and rng.random() < 0.3 else 2
        chosen[1:copies] = chosen[:1] * (copies - 1)
    return chosen


def _random_paint(rng: np.random.Generator, colour: str, variety: Variety) -> Paint:
    hue, saturation, value = COLOURS[colour]
    bgr = _bgr(
        hue + rng.uniform(*variety.hue_shift_deg),
        saturation * rng.uniform(*variety.paint_scale),
        value * rng.uniform(*variety.paint_scale),
    )
    textured = rng.random() < variety.textured
    return Paint(
        bgr,
        texture=TEXTURES[1 + int(rng.integers(len(TEXTURES) - 1))] if textured else TEXTURES[0],
        tone=rng.uniform(*variety.tone),
        cycles=rng.uniform(*variety.texture_cycles),
        angle_deg=rng.uniform(0, 360),
        shade=rng.uniform(*variety.shade),
    )


def _place(rng: np.random.Generator, pairs: Sequence[Pair], variety: Variety) -> list[SceneObject]:
    """The objects of these pairs at free places; fewer when one found none, which the caller tries again."""
    placed: list[SceneObject] = []
    for pair in pairs:
        for _ in range(12):
            item = random_object(rng, pair, variety, among=len(pairs))
            if all(fits(item, other, variety) for other in placed):
                placed.append(item)
                break
        else:
            return placed
    return placed


def fits(one: SceneObject, other: SceneObject, variety: Variety = VARIETY) -> bool:
    """Whether two objects leave enough of each other to see, and one is clearly left of the other."""
    return overlap(one, other) <= variety.overlap and abs(one.x - other.x) >= variety.least_dx


def _bgr(hue_deg: float, saturation: float, value: float) -> Bgr:
    """Hue in degrees, saturation and value in 0..1 (clipped), as a BGR triple of 0..255."""
    hue, saturation, value = hue_deg % 360, min(max(saturation, 0), 1), min(max(value, 0), 1)

    def channel(offset: float) -> int:
        position = (offset + hue / 60) % 6
        return round(255 * (value - value * saturation * max(0.0, min(position, 4 - position, 1))))

    return channel(1), channel(3), channel(5)  # the closed form of HSV to RGB has blue at 1, green at 3, red at 5
