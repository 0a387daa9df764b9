"""Which camera the display shows, and for how long."""

from __future__ import annotations

import dataclasses

from edge_app.messages import Result, failed
from edge_app.overlay.feed import HOLD_S, OverlayFeed
from edge_app.overlay.state import OverlayState


def result(camera: str, text: str = "a cat", **values: str) -> Result:
    known = {"type": "caption", "status": "ok", "ts": "", "camera": camera, "text": text}
    return Result(**{**known, **values})  # type: ignore[arg-type]


class Node:
    """The other parts of a service whose cameras but `yard` are online."""

    def __init__(self) -> None:
        self.is_ready = self.connected = True
        self.model_info: dict[str, object] = {}
        self.model_problem = None
        self.states = {"cup": "ON"}

    def is_online(self, name: str) -> bool:
        return name != "yard"


def shown(feed: OverlayFeed) -> OverlayState:
    node = Node()
    return feed.shown(node, node, node, node)  # type: ignore[arg-type]


def test_each_camera_is_shown_long_enough_to_read() -> None:
    """Results of another camera do not turn the picture away at once, and what was said of each is still known."""
    feed = OverlayFeed(("door", "yard", "hall"), None)
    feed.note(result("hall", "a dog"), 100.0)
    assert (shown(feed).camera, shown(feed).caption) == ("hall", "a dog")
    feed.note(result("door", "a cat"), 101.0)
    assert shown(feed).camera == "hall"
    feed.note(result("door", "a bird"), 100.0 + HOLD_S)
    assert (shown(feed).camera, shown(feed).caption) == ("door", "a bird")
    assert dataclasses.replace(shown(feed), rules=()).others == (("yard", False), ("hall", True))
    feed.note(result("hall", "a man"), 105.0 + HOLD_S)
    assert shown(feed).caption == "a bird"


def test_an_answer_is_shown_at_once_and_held() -> None:
    """Somebody waits for it; captions of other cameras do not take it away."""
    feed = OverlayFeed(("door", "yard"), None)
    feed.note(result("door"), 100.0)
    feed.note(result("yard", "yes", type="answer", question="is it dark?"), 101.0)
    feed.note(result("door"), 102.0)
    assert (shown(feed).camera, shown(feed).answer) == ("yard", "yes")


def test_a_camera_that_was_named_is_always_shown() -> None:
    """Whatever is said about the others, or was not said at all."""
    feed = OverlayFeed(("door", "yard"), "yard")
    feed.note(result("door"), 100.0)
    feed.note(result("door", "yes", type="answer"), 200.0)
    assert (shown(feed).camera, shown(feed).caption, shown(feed).rules) == ("yard", None, (("cup", "ON"),))


def test_an_error_shows_nothing() -> None:
    """It is for whoever asked."""
    feed = OverlayFeed(("door", "yard"), None)
    feed.note(failed("caption", "timeout", "Too late.", now_unix_s=0, camera="yard"), 100.0)
    assert shown(feed).camera == "door"
