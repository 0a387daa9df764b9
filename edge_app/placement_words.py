"""A measured placement in words, and whether captions are compared at full rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_app.settings import Config

WORKS = {"caption_new_ms": "caption of a new scene", "question_first_ms": "first question on a frame"}


def is_full_rate(config: Config) -> bool:
    """Whether captions follow one another without a pause, so that what counts is the time from one to the next."""
    intervals_s = [config.caption.interval_s if each.interval_s is None else each.interval_s for each in config.camera]
    return config.caption.enabled and 0 in intervals_s


def placement_lines(placement: Mapping[str, Any]) -> list[str]:
    """The choice, and what each combination took."""
    lines = [f"Measured as the fastest: picture on {placement['picture']}, text on {placement['text']}."]
    measurement = placement["measurement"] or {"trials": [], "refused": []}
    for trial in measurement["trials"]:
        pipelined = "" if trial["pipelined_ms"] is None else f", {trial['pipelined_ms']:.1f} ms pipelined"
        what = f"{WORKS[measurement['work']]} {trial['alone_ms']:.1f} ms{pipelined}"
        lines.append(f"  picture on {trial['picture']}, text on {trial['text']}: {what}")
    return lines + [f"  {sentence}" for sentence in measurement["refused"]]
