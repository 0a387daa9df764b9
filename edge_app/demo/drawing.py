"""How a scene of the demo world looks: ground, shadows, textured shapes, and what a camera does to them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_app.demo.ground import along, draw_ground
from edge_app.demo.world import Look, Paint, Scene, SceneObject

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SHADOW_LENGTH = 0.35  # of an object's radius
SHADOW_SOFTNESS = 0.012  # standard deviation, of the frame's side


def draw(scene: Scene, size_px: int) -> Picture:
    """The frame of a scene, [size_px, size_px, 3] BGR. The same scene and size give the same bytes."""
    look = scene.look
    image = draw_ground(look.ground, size_px).copy()
    back_to_front = sorted(scene.objects, key=lambda item: item.nearness)
    if look.shadow > 0 and scene.objects:
        _cast_shadows(image, back_to_front, look)
    for item in back_to_front:
        _draw_object(image, item)
    return _photograph(image, look)


def object_map(scene: Scene, size_px: int) -> Picture:
    """Which object each pixel shows, [size_px, size_px]: 0 for the ground, i + 1 for `scene.objects[i]`.

    A hole belongs to its object: that something is a ring shows in its middle too.
    """
    labels = np.zeros((size_px, size_px), np.uint8)
    for index in sorted(range(len(scene.objects)), key=lambda index: scene.objects[index].nearness):
        outline = _to_fixed_point(_contours_px(scene.objects[index], size_px)[0])
        cv2.fillPoly(labels, [outline], index + 1, cv2.LINE_8, _FRACTION_BITS)
    return labels


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
_REACH = 1.35  # no contour goes further from the centre, in radii, perspective included


def _contours_px(item: SceneObject, size_px: int) -> list[NDArray[np.float64]]:
    """The object's contours as seen, each [points, 2] as (x, y) in pixels."""
    slant = _turn(item.tilt_deg)
    flat = slant.T @ np.diag([item.tilt, 1.0]) @ slant  # narrower along `tilt_deg`
    seen = []
    for contour in _CONTOURS[item.shape]:
        points = contour @ _turn(item.angle_deg) @ flat
        depth = 1 - item.vanishing * (points @ slant.T)[:, :1]  # the side that is nearer looks larger
        seen.append((points / depth * item.radius + (item.x, item.y)) * size_px)
    return seen


def _turn(angle_deg: float) -> NDArray[np.float64]:
    angle = math.radians(angle_deg)
    return np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])


def _to_fixed_point(points: NDArray[np.float64]) -> NDArray[np.int32]:
    # OpenCV's integer coordinates name pixel centres, hence the half pixel.
    return np.rint((points - 0.5) * (1 << _FRACTION_BITS)).astype(np.int32)


def _cast_shadows(image: Picture, objects: Sequence[SceneObject], look: Look) -> None:
    """Darken the ground beside every object, away from the light; drawn small, since a shadow is soft."""
    size_px = len(image)
    small = max(32, size_px // 4)
    mask = np.zeros((small, small), np.uint8)
    angle = math.radians(look.light_deg)
    for item in objects:
        fall = np.array([math.cos(angle), math.sin(angle)]) * item.radius * SHADOW_LENGTH * small
        contours = [_to_fixed_point(points + fall) for points in _contours_px(item, small)]
        cv2.fillPoly(mask, contours, 255, cv2.LINE_AA, _FRACTION_BITS)
    cv2.GaussianBlur(mask, (0, 0), SHADOW_SOFTNESS * small + 0.3, dst=mask)
    light = 1 - cv2.resize(mask, (size_px, size_px)).astype(np.float32) * np.float32(look.shadow / 255)
    np.multiply(image, light[:, :, None], out=image, casting="unsafe")


def _draw_object(image: Picture, item: SceneObject) -> None:
    """Paint one object over the picture, its edge mixed with what is behind."""
    size_px = len(image)
    reach = item.radius * _REACH
    left, top = (max(0, math.floor((place - reach) * size_px)) for place in (item.x, item.y))
    right, bottom = (min(size_px, math.ceil((place + reach) * size_px)) for place in (item.x, item.y))
    part = image[top:bottom, left:right]
    mask = np.zeros(part.shape[:2], np.uint8)
    # Several contours in one call are filled even-odd: an inner one is a hole.
    contours = [_to_fixed_point(points - (left, top)) for points in _contours_px(item, size_px)]
    cv2.fillPoly(mask, contours, 255, cv2.LINE_AA, _FRACTION_BITS)
    if item.paint.texture == "plain" and item.paint.shade == 0:
        surface: Floats = np.asarray(item.paint.bgr, np.float32)
    else:
        across = _offsets(item.x, left, right, size_px) / np.float32(item.radius)
        down = _offsets(item.y, top, bottom, size_px) / np.float32(item.radius)
        light = _surface(item.paint, across, down)
        surface = light[:, :, None] * np.asarray(item.paint.bgr, np.float32)
    opaque = mask[:, :, None] * np.float32(1 / 255)
    mixed = part + (surface - part) * opaque
    np.clip(mixed, 0, 255, out=mixed)
    part[:] = mixed


def _offsets(centre: float, first: int, end: int, size_px: int) -> Floats:
    """How far the middles of the pixels `first` to `end` lie from `centre`, in sides of the frame. [end - first]"""
    places: Floats = ((np.arange(first, end, dtype=np.float32) + np.float32(0.5)) / np.float32(size_px)).astype(
        np.float32
    )
    return places - np.float32(centre)


def _surface(paint: Paint, across: Floats, down: Floats) -> Floats:
    """Light of a painted surface at the places `across` [W] x `down` [H], in radii from the centre. [H, W]"""
    angle = math.radians(paint.angle_deg)
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    forward = across[None, :] * cosine + down[:, None] * sine
    beside = down[:, None] * cosine - across[None, :] * sine
    light = 1 - np.float32(paint.shade) * forward
    wave = np.float32(2 * math.pi * paint.cycles)
    if paint.texture == "stripes":
        second = np.sin(wave * forward) > 0
    elif paint.texture == "checks":
        second = (np.sin(wave * forward) > 0) ^ (np.sin(wave * beside) > 0)
    elif paint.texture == "dots":
        second = np.cos(wave * forward) + np.cos(wave * beside) > 1
    else:
        return light
    light[second] *= np.float32(paint.tone)
    return light


def _photograph(image: Picture, look: Look) -> Picture:
    """What a camera makes of the scene: a shadow across it, focus, exposure, white balance, noise, compression."""
    size_px = len(image)
    if look.blur * size_px > 0.3:  # a narrower kernel changes nothing
        cv2.GaussianBlur(image, (0, 0), look.blur * size_px, dst=image)
    gain = np.asarray(look.cast, np.float32) * np.float32(look.exposure)  # [3]
    noisy = image * gain
    if look.shade > 0:
        noisy *= _shade(look, size_px)
    noise = np.random.default_rng(look.noise_seed).standard_normal((size_px, size_px, 1), dtype=np.float32)
    noisy += noise * np.float32(look.noise)
    np.clip(noisy, 0, 255, out=noisy)
    seen = noisy.astype(np.uint8)
    if look.jpeg_quality is None:
        return seen
    _, data = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, look.jpeg_quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return np.asarray(decoded, np.uint8)


def _shade(look: Look, size_px: int) -> Floats:
    """The light left where a shadow with a soft edge covers one side of the frame. [S, S, 1]"""
    covered = np.clip(along(look.light_deg, size_px) * np.float32(12) + np.float32(0.5), 0, 1)
    light: Floats = 1 - covered * np.float32(look.shade)
    return light[:, :, None]
