"""Which message goes to which topic, and how it is delivered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_app.messages import BadRequest, Command, Question, Result, encode
from edge_app.mqtt.session import Session
from edge_app.mqtt.topics import Topics


class Publisher:
    """The outgoing half of the MQTT contract."""

    def __init__(self, session: Session, topics: Topics) -> None:
        self._session, self._topics = session, topics

    def answer(self, asked: Question | BadRequest, result: Result) -> None:
        """The one answer to a question, to where it was asked for."""
        self._session.send(asked.response_topic or self._topics.answer, result.to_json(), asked.correlation)

    def caption(self, camera: str, result: Result) -> None:
        """The newest caption of a camera."""
        self._session.set_state(self._topics.caption(camera), result.to_json())

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
        payload = encode(
            {
                "status": "error" if error else "ok",
                "data": data,
                "error": error,
                "transaction": transaction,
            }
        )
        topic = command.response_topic or self._topics.response(name)
        self._session.send(topic, payload, command.correlation)

    def setting(self, key: str, value: str) -> None:
        """A setting as it is now."""
        self._session.set_state(self._topics.setting_state(key), value.encode("utf-8"))

    def camera_status(self, camera: str, *, online: bool) -> None:
        """Whether a camera delivers frames."""
        self._session.set_state(self._topics.camera_status(camera), b"online" if online else b"offline")

    def info(self, info: Mapping[str, Any]) -> None:
        """What runs here."""
        self._session.set_state(self._topics.info, encode(info))

    def health(self, health: Mapping[str, Any]) -> None:
        """How it runs; worthless later."""
        self._session.send_now(self._topics.health, encode(health))
