"""Which frames are worth an inference: those that are new to captions or to rules, and that the change gate lets by."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from edge_app.gate import Gate, Sight
from edge_app.messages import Region
from edge_app.rules.keeper import RuleKeeper
from edge_app.rules.rule import RuleConfig


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
        self._captions: dict[str, Sight] = {}  # camera -> its last caption

    def saw(self, camera: str, rule: RuleConfig | None, frame_id: int, change: int) -> None:
        """Note that a rule, or else the caption of a camera, has a result about a frame with this change number."""
        sight = Sight(frame_id, change, time.monotonic())
        if rule is None:
            self._captions[camera] = sight
        elif standing := self._rules.standing(rule):
            standing.sight = sight

    def refused(self, camera: str) -> None:
        """No caption of the newest frame: the next one may fare better, this one would not."""
        self._captions[camera] = Sight(self._cameras.frame_id(camera) or 0, self._cameras.change(camera), -math.inf)

    def captioned(self, camera: str) -> int | None:
        """The frame of the last caption."""
        last = self._captions.get(camera)
        return last.frame_id if last else None

    def renew(self) -> None:
        """Let the next frame of every camera by to its caption, even if its picture stands still."""
        self._captions = {camera: dataclasses.replace(last, at_s=-math.inf) for camera, last in self._captions.items()}

    def moves(self, cameras: Iterable[str]) -> bool:
        """Whether the next frame of one of them may be captioned, so that it pays to look for it often."""
        return any(self._is_open(camera) for camera in cameras)

    def to_caption(self, camera: str) -> bool:
        """Whether there is a frame to caption."""
        frame_id = self._cameras.frame_id(camera)
        return frame_id is not None and frame_id != self.captioned(camera) and self._is_open(camera)

    def to_judge(self, camera: str, rules: Sequence[RuleConfig]) -> list[RuleConfig]:
        """Of these rules about a camera those to ask about its newest frame; none while the camera is offline.

        First those that it shows something new to, or that have not settled. The others go with them: that costs
        little, and has all of them seen the same frame. If there is nothing new they are left out. In either case their
        states go on to hold.
        """
        frame_id, change, now_s = self._cameras.frame_id(camera), self._cameras.change(camera), time.monotonic()
        worth: list[RuleConfig] = []
        others: list[RuleConfig] = []
        for rule in rules:
            standing = self._rules.standing(rule)
            if standing is None or frame_id is None:
                continue
            last = standing.sight
            if last is not None and last.frame_id == frame_id:
                continue
            if not standing.judge.is_settled or self._gate.is_open(last, change, now_s):
                worth.append(rule)
            else:
                standing.fresh_s = now_s
                others.append(rule)
        return worth + others if worth else []

    def _is_open(self, camera: str) -> bool:
        return self._gate.is_open(self._captions.get(camera), self._cameras.change(camera), time.monotonic())
