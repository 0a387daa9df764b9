"""What the overlay knows: results enter it, and it crosses the link to the display."""

from __future__ import annotations

import dataclasses
import json

import pytest

from edge_app.messages import Result, TimingMs, failed
from edge_app.overlay.state import MAX_TEXT_CHARS, OverlayState
from edge_app.rules.rule import MAX_RULES
from tests.overlay import golden
from tests.overlay.material import STATE, with_text


def result(**values: object) -> Result:
    known = {"type": "caption", "status": "ok", "ts": "", "camera": "door", "text": "a cat", "confidence": 0.8}
    return Result(**{**known, **values})  # type: ignore[arg-type]


def test_caption_result_enters_the_state_with_the_time_of_its_frame() -> None:
    """A caption published 250 ms after capture, at second 10, describes second 9.75."""
    timing = TimingMs(total=180.0)
    state = OverlayState("door").with_result(result(age_ms=250.0, device="CPU", timing_ms=timing), now_s=10.0)
    assert (state.caption, state.caption_confidence, state.device, state.caption_ms) == ("a cat", 0.8, "CPU", 180.0)
    assert state.captioned_s == pytest.approx(9.75)


def test_answer_result_leaves_the_caption() -> None:
    """An answer joins the caption of the same camera."""
    answer = result(type="answer", text="yes", question="is there a cat?", p_yes=0.9)
    state = STATE.with_result(answer, now_s=10.0)
    assert (state.caption, state.question, state.answer, state.p_yes) == (STATE.caption, "is there a cat?", "yes", 0.9)


def test_nothing_said_about_one_camera_is_shown_over_another() -> None:
    """A result of another camera leaves the state as it was."""
    assert STATE.with_result(result(camera="yard"), now_s=10.0) is STATE


def test_error_never_becomes_a_caption() -> None:
    """An error leaves the state as it was."""
    assert STATE.with_result(failed("caption", "timeout", "Too late.", now_unix_s=0, camera="door"), now_s=1) is STATE


def test_message_of_hostile_state_fits_the_link() -> None:
    """The longest state is far below the link's 64 KiB even when JSON escapes each of its characters."""
    assert len(json.dumps(with_text("😀" * 10_000).to_message())) < 60_000
    assert len(with_text("x" * 10_000).to_message()["caption"]) == MAX_TEXT_CHARS


def test_rules_cross_the_link() -> None:
    """Rules and cameras arrive as they were sent, and stay when a result comes."""
    state = dataclasses.replace(STATE, rules=golden.RULES, others=(("yard", False), ("hall", True)))
    assert OverlayState.from_message(json.loads(json.dumps(state.to_message()))) == state
    assert state.with_result(result(), now_s=1.0).rules == golden.RULES


def test_every_rule_that_there_may_be_reaches_the_display() -> None:
    """The last of them is as likely ON as the first: all arrive, with the longest names and texts, over the link."""
    rules = tuple((f"{number:064}", "unknown") for number in range(MAX_RULES))
    message = json.dumps(dataclasses.replace(with_text("😀" * 10_000), rules=rules).to_message())
    assert OverlayState.from_message(json.loads(message)).rules == rules
    assert len(message) < 60_000


def test_flood_of_names_fits_the_link() -> None:
    """Whatever the service might ask for, the link's 64 KiB are not filled."""
    rules, others = (("x" * 100, "unknown" * 20),) * 1000, (("x" * 100, False),) * 1000
    flood = dataclasses.replace(with_text("😀" * 10_000), rules=rules, others=others)
    assert len(json.dumps(flood.to_message())) < 60_000
