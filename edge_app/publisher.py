"""Which message goes to which topic, and how it is delivered."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from edge_app.messages import BadRequest, Command, MessageIds, Question, Result, encode, rfc3339
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import RULE_TOPICS, Topics
from edge_app.store.outbox import Message
from edge_app.store.questions import Questions


class Publisher:
    """The outgoing half of the MQTT contract; it gives each message its `msg_id`."""

    def __init__(
        self, session: Session, topics: Topics, questions: Questions, ids: MessageIds, *, history: bool = False
    ) -> None:
        self._session, self._topics, self._questions, self._ids = session, topics, questions, ids
        self._history = history

    def answer(self, asked: Question | BadRequest, result: Result) -> None:
        """The one answer to a question, to where it was asked for; the question is settled with it."""
        msg_id = asked.msg_id if isinstance(asked, Question) else self._ids.next()
        payload = dataclasses.replace(result, msg_id=msg_id).to_json()
        topic = asked.response_topic or self._topics.answer
        self._session.send(Message("answer", msg_id, topic, payload, asked.correlation))
        if isinstance(asked, Question):
            self._questions.settle(asked)  # in the same transaction: the one is never there without the other

    def caption(self, camera: str, result: Result) -> None:
        """The newest caption of a camera, and one more of its history where that is kept."""
        msg_id = self._ids.next()
        payload = dataclasses.replace(result, msg_id=msg_id).to_json()
        self._session.set_state(self._topics.caption(camera), payload)
        if self._history:
            self._session.send(Message("caption", msg_id, self._topics.history(camera), payload))

    def event(self, event_type: str, values: Mapping[str, Any]) -> None:
        """Something happened that nobody may miss."""
        msg_id = self._ids.next()
        known = {"v": 1, "event_type": event_type, "msg_id": msg_id, "ts": rfc3339(time.time())}
        self._session.send(Message("event", msg_id, self._topics.event, encode({**known, **values})))

    def respond(
        self,
        command: Command | BadRequest,
        name: str,
        *,
        data: Mapping[str, Any] | None = None,
        error: Mapping[str, str] | None = None,
    ) -> None:
        """The one response to `request/<name>`; `name` is fit to be a topic level."""
        transaction = command.transaction if isinstance(command, Command) else command.id
        msg_id = self._ids.next()
        payload = encode(
            {
                "msg_id": msg_id,
                "status": "error" if error else "ok",
                "data": data,
                "error": error,
                "transaction": transaction,
            }
        )
        topic = command.response_topic or self._topics.response(name)
        self._session.send(Message("answer", msg_id, topic, payload, command.correlation))

    def setting(self, key: str, value: str) -> None:
        """A setting as it is now."""
        self._session.set_state(self._topics.setting_state(key), value.encode("utf-8"))

    def camera_status(self, camera: str, *, online: bool) -> None:
        """Whether a camera delivers frames."""
        self._session.set_state(self._topics.camera_status(camera), b"online" if online else b"offline")

    def rule_state(self, rule_id: str, state: str) -> None:
        """`ON`, `OFF` or `unknown`."""
        self._session.set_state(self._topics.rule(rule_id, "state"), state.encode("ascii"))

    def rule_attributes(self, rule_id: str, values: Mapping[str, Any]) -> None:
        """What a rule is, and its newest answer."""
        payload = encode({"msg_id": self._ids.next(), **values})
        self._session.set_state(self._topics.rule(rule_id, "attributes"), payload)

    def rule_snapshot(self, rule_id: str, jpeg: bytes) -> None:
        """The picture of the newest event of a rule."""
        self._session.set_state(self._topics.rule(rule_id, "snapshot"), jpeg)

    def clear_rule_snapshot(self, rule_id: str) -> None:
        """Have the broker forget the picture of a rule."""
        self._session.clear_state(self._topics.rule(rule_id, "snapshot"))

    def forget_rule(self, rule_id: str) -> None:
        """Clear what the broker retains of a rule that is gone."""
        for what in RULE_TOPICS:
            self._session.clear_state(self._topics.rule(rule_id, what))

    def has_forgotten_rule(self, rule_id: str) -> bool:
        """Whether the broker has acknowledged all that `forget_rule` cleared."""
        return not any(self._session.keeps(self._topics.rule(rule_id, what)) for what in RULE_TOPICS)

    def info(self, info: Mapping[str, Any]) -> None:
        """What runs here."""
        self._session.set_state(self._topics.info, encode({"msg_id": self._ids.next(), **info}))

    def health(self, health: Mapping[str, Any]) -> None:
        """How it runs; worthless later."""
        self._session.send_now(self._topics.health, encode({"msg_id": self._ids.next(), **health}))
