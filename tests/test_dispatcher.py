"""When the model gets its next request; what each question gets in return is told by tests/service."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from edge_app.dispatcher import FRAME_POLL_S
from edge_app.messages import Question, Region
from edge_app.model_client import ModelDown, ModelLost, ModelReady, ModelReply
from edge_app.scheduler import BATCH_LIMIT
from edge_app.settings import GateConfig
from tests.desk import Desk


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[Desk]:
    """Without an interval, or with that of an indirect parameter."""
    desk = Desk(getattr(request, "param", 0))
    yield desk
    for buffer in desk.cameras.buffers.values():
        buffer.close()


def question(id: str, region: Region | None = None) -> Question:
    return Question(id, "what is it", "door", None, region, 10, None, None, msg_id=id, fingerprint=id, delivery=id)


def test_the_next_inference_begins_before_the_last_one_is_published(desk: Desk) -> None:
    """The model does not wait while a result is put into words and sent."""
    desk.cameras.show("door")
    desk.cameras.show("yard")
    desk.dispatcher.handle(ModelReady({}))
    desk.reply("door")
    assert desk.done == ["begun caption door", "begun caption yard", "told caption door 1"]


def test_questions_that_wait_are_next_when_a_reply_comes(desk: Desk) -> None:
    """A question waits for the inference in flight and no other; its answer is told while the next one runs."""
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    desk.dispatcher.ask(question("1"))
    desk.cameras.show("door")
    desk.reply("door")
    desk.reply("door")
    assert desk.done == ["begun caption door", "begun ask door", "told caption door 2", "told answer door 2"]


def test_a_frame_is_captioned_once_and_the_next_as_soon_as_it_is_there(desk: Desk) -> None:
    """With a free model the next look is FRAME_POLL_S away; a turn with a new frame begins its caption."""
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    desk.reply("door")
    assert desk.done == ["begun caption door", "told caption door 1"]
    assert desk.dispatcher.next_event_s() <= time.monotonic() + FRAME_POLL_S
    desk.cameras.show("door")
    desk.dispatcher.work()
    assert desk.done[-1] == "begun caption door"


def test_nobody_polls_for_frames_while_nothing_can_begin(desk: Desk) -> None:
    """The model's start and its reply are events; a camera that is offline is looked after by others."""
    assert desk.dispatcher.next_event_s() == math.inf  # the model has not started, no camera has a frame
    desk.cameras.show("door")
    assert desk.dispatcher.next_event_s() == math.inf
    desk.dispatcher.handle(ModelReady({}))
    assert desk.dispatcher.next_event_s() == math.inf  # an inference runs


def test_no_camera_with_a_frame_means_no_polling(desk: Desk) -> None:
    """A ready model without a frame anywhere waits for the cameras."""
    desk.dispatcher.handle(ModelReady({}))
    assert desk.dispatcher.next_event_s() == math.inf


@pytest.mark.parametrize("desk", [50], indirect=True)
def test_a_caption_that_is_not_due_yet_is_waited_for_exactly(desk: Desk) -> None:
    """The next look is when it is due, neither sooner nor later."""
    desk.cameras.show("door")
    began_s = time.monotonic()
    desk.dispatcher.handle(ModelReady({}))
    desk.reply("door")
    assert began_s + 50 <= desk.dispatcher.next_event_s() <= time.monotonic() + 50


def test_a_frame_whose_caption_is_refused_is_not_asked_for_again(desk: Desk) -> None:
    """Without an interval the same request would go out as fast as it is refused; the next frame gets its chance."""
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    refusal = {"ok": False, "code": "bad_request", "message": "The prompt is too long."}
    desk.dispatcher.handle(ModelReply(desk.numbers[-1], refusal))
    desk.dispatcher.work()
    assert desk.done == ["begun caption door"]
    desk.cameras.show("door")
    desk.dispatcher.work()
    assert desk.done == ["begun caption door"] * 2


def test_captions_and_questions_look_at_the_cameras_region(desk: Desk) -> None:
    """A camera's region is for captions and for questions that bring none; a question's own wins."""
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    desk.cameras.regions["door"] = left
    for name in ("door", "yard"):
        desk.cameras.show(name)
    desk.dispatcher.handle(ModelReady({}))
    desk.reply("door")
    desk.dispatcher.ask(question("1"))
    desk.reply("yard")
    desk.dispatcher.ask(question("2", region=right))
    desk.reply("door")
    assert desk.done[::2][:2] == ["begun caption door", "told caption door 1"]
    assert [request["region"] for request in desk.requests] == [left, None, left, right]


@dataclass
class Clock:
    """The monotonic clock, moved by hand."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def run(desk: Desk, clock: Clock, seconds: float, change: int, p_yes: Callable[[str], float]) -> None:
    """Ten frames a second with this number of changes, each of which the model is done with before the next."""
    for _ in range(round(seconds * 10)):
        clock.now_s += 0.1
        desk.cameras.show("door", change)
        desk.dispatcher.work()
        while len(desk.numbers) > desk.replied:
            desk.replied = len(desk.numbers)
            desk.reply(desk.requests[-1]["camera"], p_yes)
        desk.rules.check(clock.now_s, 1)


@pytest.fixture
def gated(clock: Clock) -> Iterator[Desk]:
    """With the change gate, and captions once a second."""
    desk = Desk(1, GateConfig(enabled=True, refresh_s=300))
    yield desk
    for buffer in desk.cameras.buffers.values():
        buffer.close()


def test_each_rule_sees_each_change_whatever_others_have_seen(gated: Desk, clock: Clock) -> None:
    """A quick rule has seen a change, a slow one has not; nor have those that the first batch has no room for."""
    desk = gated
    desk.add_rules("quick", interval_s=1)
    desk.add_rules("slow", interval_s=20)
    desk.dispatcher.handle(ModelReady({}))
    run(desk, clock, 6, 1, lambda _: 0.0)
    assert set(desk.rules.states.values()) == {"OFF"}
    run(desk, clock, 21, 2, lambda asked: float(asked == "slow"))
    assert desk.rules.states == {"quick": "OFF", "slow": "ON"}
    desk.add_rules(*(str(number) for number in range(2 * BATCH_LIMIT)))
    desk.scheduler.paused = True
    run(desk, clock, 6, 2, lambda _: 0.0)
    run(desk, clock, 21, 3, lambda _: 1.0)
    assert set(desk.rules.states.values()) == {"ON"}


def test_a_still_scene_costs_its_rules_hardly_an_inference_and_their_states_hold(gated: Desk, clock: Clock) -> None:
    """Rules that came one after the other are refreshed together, and it takes no answer to call them known."""
    desk = gated
    desk.dispatcher.handle(ModelReady({}))
    for number in range(12):
        desk.add_rules(str(number))
        run(desk, clock, 20, 1, lambda _: 1.0)
    desk.scheduler.paused = True
    begun = len(desk.requests)
    run(desk, clock, 900, 1, lambda _: 1.0)
    assert len(desk.requests) - begun <= 4  # one in 300 s, of 900 a rule without the gate
    assert set(desk.rules.states.values()) == {"ON"}


@pytest.mark.parametrize("desk", [1000], indirect=True)
def test_a_refused_batch_of_rules_keeps_no_question_out(desk: Desk) -> None:
    """Its rules wait apart, and every other job is a question's."""
    desk.add_rules(*(str(number) for number in range(BATCH_LIMIT)))
    desk.scheduler.paused = True
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    desk.refuse()
    assert desk.dispatcher.queue_length == 0
    for id in "abcd":
        desk.dispatcher.ask(question(id, region=(0, 0, 0.1 + ord(id) % 4 / 5, 1)))
    assert desk.dispatcher.counts["busy"] == 0
    for _ in range(7):
        desk.reply("door")
    assert [request["op"] for request in desk.requests] == ["rules", *["rules", "ask"] * 4]


def test_a_rule_that_is_refused_among_others_is_alone_barred(desk: Desk) -> None:
    """The model's process answers the others; none of them is asked again."""
    desk.add_rules("good", "bad")
    desk.scheduler.paused = True
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    info = desk.cameras.buffers["door"].latest_info()
    assert info is not None
    refusal = {"ok": False, "code": "bad_request", "message": "The question is too long."}
    answered = desk.result(info) | {"p_yes": 1.0, "yes_no_mass": 1.0}
    desk.dispatcher.handle(ModelReply(desk.numbers[-1], {"ok": True, "results": [answered, refusal]}))
    assert desk.rules.states == {"good": "ON", "bad": "unknown"}
    assert desk.rules.describe()[1]["reason"] == "The question is too long."
    desk.cameras.show("door")
    desk.dispatcher.work()
    assert desk.requests[-1]["questions"] == ["good"]


@pytest.mark.parametrize("desk", [5], indirect=True)
def test_a_model_that_fails_to_start_once_bars_no_rule(desk: Desk, clock: Clock) -> None:
    """It died on rules, and its next start failed: as soon as it is there again they are asked."""
    desk.add_rules("x", "y")
    desk.scheduler.paused = True
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    desk.dispatcher.handle(ModelDown("It crashed.", hopeful=True))
    desk.dispatcher.handle(ModelLost(desk.numbers[-1], "It crashed."))
    desk.dispatcher.handle(ModelDown("It did not start.", hopeful=False))
    clock.now_s += 6
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    assert desk.requests[-1]["questions"] == ["x", "y"] and len(desk.requests) == 2


def test_rules_of_a_camera_that_is_offline_are_not_asked(desk: Desk) -> None:
    """Neither behind its last caption, nor again after the model died on them."""
    desk.add_rules("x", camera="door")
    desk.cameras.show("door")
    desk.cameras.show("yard")
    desk.dispatcher.handle(ModelReady({}))
    desk.cameras.offline.add("door")
    desk.reply("door")
    assert desk.done[-2:] == ["begun caption yard", "told caption door 1"]
    desk.reply("yard")
    desk.cameras.offline.clear()
    desk.dispatcher.work()
    assert desk.done[-1] == "begun rules door"
    desk.cameras.offline.add("door")
    desk.dispatcher.handle(ModelDown("It crashed.", hopeful=True))
    desk.dispatcher.handle(ModelLost(desk.numbers[-1], "It crashed."))
    desk.dispatcher.handle(ModelReady({}))
    assert desk.done[-1] == "begun rules door" and len(desk.requests) == 3


def test_the_picture_of_an_event_is_fetched_before_the_next_rules(desk: Desk) -> None:
    """The model's process keeps one frame of each camera, be it encoded for a question or for the rules."""
    desk.add_rules("event", snapshot=True)
    desk.add_rules(*(str(number) for number in range(BATCH_LIMIT)))
    desk.scheduler.paused = True
    desk.cameras.show("door")
    desk.dispatcher.handle(ModelReady({}))
    desk.cameras.show("door")
    desk.reply("door", lambda _: 1.0)
    desk.dispatcher.handle(ModelReply(desk.numbers[-1], {"ok": True, "results": [{"jpeg": ""}]}))
    desk.dispatcher.ask(question("1"))
    desk.reply("door")
    assert [request["op"] for request in desk.requests] == ["rules", "snapshot", "rules", "ask"]
    assert desk.requests[1]["frame"] == 2
    assert desk.requests[3]["keep"]


@pytest.mark.parametrize("desk", [3600.0], indirect=True)
def test_the_model_is_quiet_from_its_last_reply_on_and_only_while_it_can_serve(desk: Desk) -> None:
    """Starting, at work, with a question that waits: a measurement would be in the way."""
    later_s = time.monotonic() + 1000
    assert desk.dispatcher.quiet_s(later_s) == 0
    desk.dispatcher.handle(ModelReady({}))
    assert 990 < desk.dispatcher.quiet_s(later_s) <= 1000
    desk.cameras.show("door")
    desk.dispatcher.work()
    assert desk.done == ["begun caption door"]
    assert desk.dispatcher.quiet_s(later_s) == 0
    desk.reply("door")
    assert 0 < desk.dispatcher.quiet_s(later_s) <= 1000
    desk.dispatcher.ask(question("1"))
    assert desk.dispatcher.quiet_s(later_s) == 0
    desk.dispatcher.handle(ModelDown("Killed.", hopeful=True))
    assert desk.dispatcher.quiet_s(later_s) == 0
