"""What the change gate saves, and what it misses: `python -m tests.bench.gate`.

No model runs: an inference is counted where the service would begin one. Still scenes are scenes of the demo's world
that stand still, under sensor noise, flickering light and the bands of a rolling shutter; the moving one is the demo's
own; in the third kind nothing moves but that objects come and go, which is the hardest for a gate. A change is missed
as long as no inference has seen it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edge_app.demo.drawing import draw
from edge_app.demo.motion import MovingScene
from edge_app.demo.world import Scene
from edge_app.gate import Gate, Sight
from edge_app.gate_meter import ChangeMeter
from edge_app.settings import GateConfig
from tests.bench.script import run_script

Picture = NDArray[np.uint8]
FPS = 10
SIZE_PX = 480


@dataclass(frozen=True)
class Figures:
    """Of one kind of scene."""

    intervals: int
    inferences: int
    changes: int
    worst_wait_intervals: float
    """Longest time from a change of the objects to the first inference that saw it; up to 1 without a gate."""
    meter_ms: float
    """Median time for one frame."""

    @property
    def share(self) -> float:
        """Inferences made of those that would have been made without a gate."""
        return self.inferences / self.intervals


def still(seed: int, frames: int, *, noise: float, flicker: float, bands: float) -> Iterator[tuple[Picture, int]]:
    """A scene that stands still: frames, and how often its objects have changed (never)."""
    rng = np.random.default_rng(seed)
    clean = draw(MovingScene(seed, SIZE_PX).truth(), SIZE_PX).astype(np.float32)
    rows = np.arange(SIZE_PX)[:, None, None] / SIZE_PX * 2 * math.pi
    for frame in range(frames):
        light = (1 + flicker * math.sin(2.1 * frame)) * (1 + bands * np.sin(2 * rows + 1.3 * frame))
        noisy = clean * light + rng.normal(0, noise, clean.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8), 0


def moving(seed: int, frames: int) -> Iterator[tuple[Picture, int]]:
    """The demo camera's scene."""
    scene = MovingScene(seed, SIZE_PX)
    pairs, changes = scene.truth().pairs, 0
    for _ in range(frames):
        scene.step()
        if sorted(scene.truth().pairs) != sorted(pairs):
            pairs, changes = scene.truth().pairs, changes + 1
        yield scene.draw(), changes


def coming_and_going(seed: int, frames: int) -> Iterator[tuple[Picture, int]]:
    """A scene whose objects stand still, but that one after the other goes and comes back, every three seconds."""
    rng = np.random.default_rng(seed)
    whole = MovingScene(seed, SIZE_PX).truth()
    for frame in range(frames):
        phase = frame // (3 * FPS)
        gone = phase // 2 % len(whole.objects) if phase % 2 else None
        shown = tuple(item for index, item in enumerate(whole.objects) if index != gone)
        clean = draw(Scene(shown, whole.look), SIZE_PX).astype(np.float32)
        yield np.clip(clean + rng.normal(0, 5, clean.shape), 0, 255).astype(np.uint8), phase


def judged(frames: Iterator[tuple[Picture, int]], interval_s: float, refresh_s: float) -> Figures:
    """Let the gate decide as the service does: when an inference is due, and from then on at each frame."""
    meter, gate = ChangeMeter(), Gate(GateConfig(enabled=True, refresh_s=refresh_s))
    due_s, inferences, seen, worst_s, number = 0.0, 0, 0, 0.0, 0
    last: Sight | None = None
    unseen_since_s: float | None = None
    times_ms = []
    changes = 0
    for number, (picture, changes) in enumerate(frames):
        now_s = number / FPS
        started = time.perf_counter()
        change = meter.look(picture)
        times_ms.append((time.perf_counter() - started) * 1000)
        if changes != seen and unseen_since_s is None:
            unseen_since_s = now_s
        if now_s >= due_s and gate.is_open(last, change, now_s):
            last = Sight(number, change, now_s)
            due_s, inferences, seen = now_s + interval_s, inferences + 1, changes
            if unseen_since_s is not None:
                worst_s, unseen_since_s = max(worst_s, now_s - unseen_since_s), None
    if unseen_since_s is not None:
        worst_s = max(worst_s, number / FPS - unseen_since_s)
    intervals = math.ceil((number + 1) / FPS / interval_s)
    return Figures(intervals, inferences, changes, worst_s / interval_s, sorted(times_ms)[len(times_ms) // 2])


def measured(*, seeds: int, seconds: int, interval_s: float, refresh_s: float) -> dict[str, Figures]:
    """All kinds of scenes, each the sum (or the worst) of several."""
    frames = seconds * FPS
    kinds: dict[str, Callable[[int], Iterator[tuple[Picture, int]]]] = {
        "still, noise 3": lambda seed: still(seed, frames, noise=3, flicker=0, bands=0),
        "still, noise 10, flicker 8 %, bands 6 %": lambda seed: still(seed, frames, noise=10, flicker=0.08, bands=0.06),
        "moving": lambda seed: moving(seed, frames),
        "coming and going": lambda seed: coming_and_going(seed, frames),
    }
    found = {}
    for name, scene in kinds.items():
        each = [judged(scene(seed), interval_s, refresh_s) for seed in range(seeds)]
        found[name] = Figures(
            sum(one.intervals for one in each),
            sum(one.inferences for one in each),
            sum(one.changes for one in each),
            max(one.worst_wait_intervals for one in each),
            max(one.meter_ms for one in each),
        )
    return found


def main() -> int:
    """Print the figures."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", metavar="N", type=int, default=6, help="scenes of each kind; default: 6")
    p.add_argument("--seconds", metavar="S", type=int, default=60, help="of each scene; default: 60")
    p.add_argument("--interval", metavar="S", type=float, default=1, help="between inferences; default: 1")
    p.add_argument("--refresh", metavar="S", type=float, default=300, help="gate.refresh_s; default: 300")
    args = p.parse_args()

    def work() -> str:
        found = measured(seeds=args.seeds, seconds=args.seconds, interval_s=args.interval, refresh_s=args.refresh)
        return "\n".join(json.dumps({"scene": name, "share": one.share, **asdict(one)}) for name, one in found.items())

    return run_script("gate", work)


if __name__ == "__main__":
    raise SystemExit(main())
