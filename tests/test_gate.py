"""The change gate: what stands still is not inferred, what changes is, and nothing is missed in between."""

from __future__ import annotations

import numpy as np
import pytest

from edge_app.demo.drawing import draw
from edge_app.demo.world import Paint
from edge_app.gate import Gate, Sight
from edge_app.gate_meter import COLUMNS, ROWS, ChangeMeter
from edge_app.settings import GateConfig
from tests.bench.gate import Picture, measured
from tests.demo.scenes import scene, thing


def noisy(picture: Picture, rng: np.random.Generator, light: float = 1.0) -> Picture:
    return np.clip(picture * np.float32(light) + rng.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)


def test_it_keeps_its_promises_on_the_demos_scenes() -> None:
    """Still: at most 5 % of the inferences, in spite of noise and flicker; moving: no change waits two intervals."""
    for name, figures in measured(seeds=2, seconds=12, interval_s=0.5, refresh_s=300).items():
        if name.startswith("still"):
            assert figures.share <= 0.05, (name, figures)  # measured: the first frame alone
        else:
            assert figures.worst_wait_intervals <= 2 and figures.changes > 0, (name, figures)  # measured: below 1


def test_a_change_that_is_over_before_the_next_inference_is_one_all_the_same() -> None:
    """Numbers only go up: what came and went between two looks has left its mark."""
    rng = np.random.default_rng(1)
    empty, shown = (draw(scene(*things), 240) for things in ((), (thing("red circle", 0.3, 0.4),)))
    meter = ChangeMeter()
    for _ in range(20):
        before = meter.look(noisy(empty, rng))
    assert before == 1
    assert meter.look(noisy(shown, rng)) > before
    assert meter.look(noisy(empty, rng)) > before + 1


def test_a_colour_that_changes_alone_is_a_change() -> None:
    """Two colours of the same brightness are two to whoever asks for the colour."""
    rng = np.random.default_rng(1)
    meter = ChangeMeter()
    green, red = Paint(bgr=(40, 130, 40)), Paint(bgr=(40, 61, 175))  # grey 93.2 and 93.7 (BT.601)
    before = meter.look(noisy(draw(scene(thing("green square", paint=green)), 240), rng))
    assert meter.look(noisy(draw(scene(thing("red square", paint=red)), 240), rng)) > before


def test_what_changes_slowly_counts_in_the_end() -> None:
    """It is compared with the last change, not with the last frame."""
    rng = np.random.default_rng(1)
    meter = ChangeMeter()
    for step in range(60):  # less than a hundredth of a block a frame
        number = meter.look(noisy(draw(scene(thing("red circle", 0.3 + step * 0.0002)), 240), rng))
    assert 3 <= number <= 30


def test_light_that_goes_out_is_a_change_and_light_that_flickers_is_none() -> None:
    """A small factor on all blocks of a row is light; a large one is something that happened."""
    rng = np.random.default_rng(1)
    picture = draw(scene(thing("red circle"), thing("blue star", 0.2)), 240)
    meter = ChangeMeter()
    for light in (1.0, 0.92, 1.05, 0.95, 1.08) * 6:
        meter.look(noisy(picture, rng, light))
    assert meter.number == 1
    assert meter.look(noisy(picture, rng, 0.5)) == 2


@pytest.mark.parametrize("shape", [(1, 1), (2, 5000), (17, 31), (1080, 1920)])
def test_any_picture_will_do(shape: tuple[int, int]) -> None:
    """Cameras give what they give; another size is another picture of as many blocks."""
    meter = ChangeMeter(6)
    assert meter.look(np.full((*shape, 3), 100, np.uint8)) == 7
    assert meter.look(np.full((ROWS * 2, COLUMNS * 2, 3), 101, np.uint8)) == 7
    assert meter.look(np.full((*shape, 3), 200, np.uint8)) == 8


def test_the_gate_opens_for_a_change_and_for_the_refresh() -> None:
    """And for whoever has seen nothing yet."""
    gate = Gate(GateConfig(enabled=True, refresh_s=60))
    assert gate.is_open(None, 3, 0)
    last = Sight(frame_id=1, change=3, at_s=0)
    assert not gate.is_open(last, 3, 59)
    assert gate.is_open(last, 3, 60)
    assert gate.is_open(last, 4, 1)


def test_without_it_every_frame_is_worth_an_inference() -> None:
    """It is off unless asked for."""
    assert Gate(GateConfig()).is_open(Sight(frame_id=1, change=3, at_s=0), 3, 0)
