"""The change gate in a running service: a real camera process and broker, and a model that counts what it is asked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.broker import Broker, Watcher, broker, needs_mosquitto, wait_until
from tests.demo.scenes import scene, thing
from tests.rules.test_service import RULE, answer_with, until
from tests.service.harness import NODE, Start, ready, start, watcher
from tests.standin_worker import lines

__all__ = ["broker", "start", "watcher"]
pytestmark = needs_mosquitto

SETTINGS = """
[caption]
interval_s = 0.1
[gate]
enabled = true
refresh_s = 300
"""


def test_a_still_picture_is_captioned_once_and_its_rules_asked_until_they_are_settled(
    broker: Broker, start: Start, watcher: Watcher, tmp_path: Path
) -> None:
    """One caption, as many answers to a rule as it takes to turn it, then nothing; `request/caption` still works."""
    from edge_app.demo.drawing import draw

    picture = tmp_path / "still.png"
    cv2.imwrite(str(picture), np.asarray(draw(scene(thing("red circle")), 240)))
    service = start(broker.port, SETTINGS + RULE, source=f"file:{picture}")
    answer_with(service, 0.9)
    ready(watcher)
    until(watcher, f"{NODE}/rule/cup/state", b"ON")
    asked = len(lines(service.folder / "begun"))
    watcher.publish(f"{NODE}/request/caption", "", response_topic="reply/now")
    watcher.expect(lambda message: message.topic == "reply/now", "the caption that was asked for")
    watcher.publish(f"{NODE}/request/rule/add", '{"id": "hat", "question": "is there a hat?", "consecutive": 1}')
    until(watcher, f"{NODE}/rule/hat/state", b"ON")
    begun = lines(service.folder / "begun")
    assert len(begun) <= asked + 2, begun  # 0.1 s apart, there would be tens by now
    assert sum("cup" in line for line in begun) <= 6
    assert watcher.count(f"{NODE}/camera/door/caption") == 2  # its own, and the one that was asked for


def test_a_scene_that_moves_is_captioned_as_without_a_gate(broker: Broker, start: Start, watcher: Watcher) -> None:
    """The numbers of its changes reach the service with every frame."""
    start(broker.port, SETTINGS)
    ready(watcher)
    wait_until(lambda: watcher.count(f"{NODE}/camera/door/caption") >= 8, "captions of a moving scene")
