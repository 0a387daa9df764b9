"""O1: the overlay has nowhere to go, is given what no font has, and is killed: nobody else notices."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise

import psutil

from tests.broker import wait_until
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness, until_captioned
from tests.faults.node import CAMERA, TOPICS, Node
from tests.faults.questions import Questions

HOSTILE = ("babble", "\U0001f600\u202e\x07 what?", "\x1b[2J\x1b[31m", "W" * 250)
GAP_S = 3.0  # captions come every 0.5 s


@fault("O1", "overlay: no display, hostile text, kill -9", short=4, long=20, limit_s=240)
def failing_overlay(harness: Harness, times: int) -> Outcome:
    """No folder for the picture, 10,000 characters, emoji and control codes, kill -9: captions and answers go on."""
    broker = harness.broker()
    listener = harness.listener(broker.port)
    node = harness.node(broker.port)
    picture = node.folder / "later" / "overlay.png"
    node.configure({"display": {"backend": "file", "path": str(picture)}})
    node.start()
    until_captioned(listener)
    pid, began_s = node.pid, time.monotonic()
    wait_until(lambda: "display cannot show the picture" in node.log, "the display to complain")
    picture.parent.mkdir()
    wait_until(picture.exists, "the picture")
    first = _display(node)
    questions = Questions(listener)
    codes = [questions.expect_answer(questions.ask(text)).code for text in HOSTILE]
    picture.unlink()
    wait_until(picture.exists, "a picture after hostile text")
    survived = _display(node) == first
    back = 0.0
    for _ in range(times):
        display = wait_until(lambda: _display(node), "a display", 90)
        os.kill(display, signal.SIGKILL)
        killed_s = time.monotonic()
        wait_until(lambda: _display(node) not in (None, display), "another display", 90)  # noqa: B023
        picture.unlink(missing_ok=True)
        wait_until(picture.exists, "a picture")
        back = max(back, time.monotonic() - killed_s)
    captions = [
        each.arrived_s for each in listener.heard(lambda each: each.topic == TOPICS.caption(CAMERA), since_s=began_s)
    ]
    gap_s = max(later - earlier for earlier, later in pairwise(captions))
    lost = sum(code != "ok" for code in codes)
    passed = node.is_running and node.pid == pid and survived and not lost and gap_s <= GAP_S
    return Outcome(
        times,
        lost=lost,
        duplicates=None,
        detected_s=None,
        recovered_s=back,
        passed=passed,
        figure=f"{len(captions)} captions, never {gap_s:.1f} s without one (allowed {GAP_S:g}); the display "
        f"{'survived' if survived else 'DIED of'} {len(codes)} hostile texts; a new one within {back:.0f} s",
    )


def _display(node: Node) -> int | None:
    """The display's process, if one runs."""
    try:
        return next(iter(node.children("edge_app.display")), None)
    except psutil.Error:  # it ends while it is looked at
        return None
