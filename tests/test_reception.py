"""What the front door does with messages that come again, too early, or while the service ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from edge_app.messages import MessageIds
from edge_app.model_client import ModelReady
from edge_app.mqtt.requests import Inbound, Receipt, Rules
from edge_app.reception import PATIENCE_S, Reception
from tests.desk import Desk


class Door(Desk):
    """A reception in front of a dispatcher that has room for four questions; its broker is away."""

    def __init__(self) -> None:
        super().__init__(interval_s=1000)
        self.open()

    def open(self) -> None:
        """Let a new run of the service take over."""
        self.reception = Reception(
            Rules(self.topics, ("reply/",), 10, 60, 256),
            self.dispatcher,
            self.scheduler,
            self.publisher,
            questions=self.store.questions,
            ids=MessageIds(),
            info=lambda: {},
            standing=self.rules,
        )

    def say(self, topic: str, payload: str = "", *, mid: int = 1, repeated: bool = False) -> None:
        """A message of QoS 1 from the broker."""
        topic = f"{self.topics.root}/{topic}"
        data = payload.encode()
        self.reception.handle(Inbound(topic, data, len(data), False, repeated=repeated, receipt=Receipt(1, mid)))

    def sent(self) -> list[dict[str, Any]]:
        """Answers and responses so far."""
        return [json.loads(record.payload) for record in self.store._records.all("answer")]

    def codes(self) -> list[str]:
        return [each["error"]["code"] for each in self.sent() if each["error"]]


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    for buffer in door.cameras.buffers.values():
        buffer.close()


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("request/rule/remove", '{"id": "cup"}'),
        ("request/rule/add", '{"id": "cup", "question": "is there a cup?"}'),
        ("request/rule/add", '{"id": "cup"}'),
        ("request/info", ""),
        ("request/caption", ""),
        ("request/caption", "what"),
        ("request/reboot", ""),
        ("ask", '{"id": "q"}'),
    ],
)
def test_a_command_that_the_broker_repeats_has_one_effect_and_one_response(
    door: Door, topic: str, payload: str
) -> None:
    """It comes again, and is marked so, where only our acknowledgement was lost. A new message is a new command."""
    door.cameras.show("door")
    door.dispatcher.handle(ModelReady({}))
    door.reply("door")  # the caption that was due
    door.say("request/rule/add", '{"id": "cup", "question": "is there a cup?"}', mid=9)

    def answered() -> int:
        while door.dispatcher.queue_length or door.dispatcher._current:
            door.reply("door")
        door.reception.finish_orders()  # as at the end of a turn
        return len(door.sent())

    before = answered()
    door.say(topic, payload)
    assert answered() == before + 1
    door.say(topic, payload, repeated=True)
    assert answered() == before + 1
    assert door.reception.dropped["repeated"] == 1
    door.say(topic, payload, mid=2)
    assert answered() == before + 2


def test_a_repetition_is_known_after_a_restart_but_for_a_caption_that_never_came(door: Door) -> None:
    """What has its response in the outbox is not done again; a caption that a killed service owed is."""
    door.cameras.show("door")
    door.say("request/info")
    door.say("request/caption", mid=2)
    assert len(door.sent()) == 1
    door.open()
    door.say("request/info", repeated=True)
    assert (len(door.sent()), door.reception.dropped["repeated"]) == (1, 1)
    door.say("request/caption", mid=2, repeated=True)
    assert door.dispatcher.queue_length == 2


def ask(door: Door, *names: str) -> None:
    for name in names:
        door.say("ask", json.dumps({"id": name, "question": "is it red?", "camera": "door"}))


def test_questions_that_wait_for_a_camera_are_answered_when_the_service_ends(door: Door) -> None:
    """No frame came, the service is told to end: each asker is told so, and nothing is owed any more."""
    ask(door, "a", "b")
    assert door.sent() == []
    door.reception.shut_down()
    assert [(each["id"], each["error"]["code"]) for each in door.sent()] == [
        ("a", "model_unavailable"),
        ("b", "model_unavailable"),
    ]
    assert not door.store._records.counts["question"]
    door.reception.resume(time.monotonic())
    assert len(door.sent()) == 2


def test_questions_that_waited_for_a_camera_are_asked_as_the_queue_has_room(door: Door) -> None:
    """Ten at once would be too many for a queue of four; none is told `busy`, they keep their order, and go first."""
    names = list("abcdefghij")
    ask(door, *names)
    door.cameras.show("door")
    door.reception.resume(time.monotonic())
    assert (door.dispatcher.queue_length, door.sent()) == (4, [])
    ask(door, "late")
    assert door.codes() == ["busy"]
    while waiting := door.scheduler.waiting:
        assert [job.question.id for job in waiting if job.question] == names[: len(waiting)]
        for job in door.scheduler.drain():
            assert job.question is not None
            names.remove(job.question.id)
        door.reception.resume(time.monotonic() + PATIENCE_S - 6)
    assert names == [] and door.codes() == ["busy"]


def test_a_question_that_finds_no_room_in_its_time_is_told_timeout(door: Door) -> None:
    """`busy` is for those who come while the queue is full, and this one has waited as long as it may."""
    ask(door, *"abcdef")
    door.cameras.show("door")
    now_s = time.monotonic()
    door.reception.resume(now_s)
    door.dispatcher.model_info = {}  # it runs, and is at work on something long
    door.reception.resume(now_s + 9)
    assert door.sent() == []
    door.reception.resume(now_s + 60)
    assert [(each["id"], each["error"]["code"]) for each in door.sent()] == [("e", "timeout"), ("f", "timeout")]
