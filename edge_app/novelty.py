"""Which frames are worth an inference: those that are new to captions or to rules, and that the change gate lets by."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from edge_app.gate import Gate, Kind
from edge_app.messages import Region
from edge_app.rules.keeper import RuleKeeper


class Cameras(Protocol):
    """What is asked about cameras."""

    def names(self) -> tuple[str, ...]:
        """All cameras, in the order of the configuration."""

    def frame_id(self, name: str) -> int | None:
        """The newest frame of a camera; None if it is offline or has delivered none."""

    def is_starting(self, name: str) -> bool:
        """Whether a camera has not delivered yet, and nothing is known to be wrong with it."""

    def region(self, name: str) -> Region | None:
        """Where captions and questions without a region look; None: everywhere."""

    def change(self, name: str) -> int:
        """The number of the last change of a camera's picture."""

    def problem(self, name: str) -> str:
        """Why a camera is offline, as part of a sentence."""


class Novelty:
    """What captions and rules have seen of each camera. Owned by the main thread."""

    def __init__(self, cameras: Cameras, gate: Gate, rules: RuleKeeper) -> None:
        self._cameras, self._gate, self._rules = cameras, gate, rules
        self._seen: dict[tuple[Kind, str], int] = {}

    def saw(self, kind: Kind, camera: str, frame_id: int, change: int) -> None:
        """Note that captions or rules have a result about a frame, taken when `change` was the picture's last."""
        self._seen[kind, camera] = frame_id
        self._gate.saw(kind, camera, change, time.monotonic())

    def refused(self, camera: str) -> None:
        """No caption of the newest frame: the next one may fare better, this one would not."""
        self._seen["caption", camera] = self._cameras.frame_id(camera) or 0

    def captioned(self, camera: str) -> int | None:
        """The frame of the last caption."""
        return self._seen.get(("caption", camera))

    def renew(self) -> None:
        """Let the next frame of every camera by to its caption, even if its picture stands still."""
        self._gate.open("caption")

    def moves(self, cameras: Iterable[str]) -> bool:
        """Whether the next frame of one of them may be captioned, so that it pays to look for it often."""
        return any(self._is_open("caption", camera) for camera in cameras)

    def to_caption(self, camera: str) -> bool:
        """Whether there is a frame to caption."""
        return self._has_new("caption", camera) and self._is_open("caption", camera)

    def to_judge(self, camera: str) -> bool:
        """Whether there is a frame to ask rules about; if it shows nothing new, their states go on to hold."""
        if not self._has_new("rules", camera):
            return False
        if not self._rules.is_settled(camera) or self._is_open("rules", camera):
            return True
        self._rules.holds(camera, time.monotonic())
        return False

    def _has_new(self, kind: Kind, camera: str) -> bool:
        frame_id = self._cameras.frame_id(camera)
        return frame_id is not None and frame_id != self._seen.get((kind, camera))

    def _is_open(self, kind: Kind, camera: str) -> bool:
        return self._gate.is_open(kind, camera, self._cameras.change(camera), time.monotonic())
