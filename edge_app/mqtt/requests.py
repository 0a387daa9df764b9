"""Bytes from anybody to a Question, a Command, a setting, or a polite refusal.

Whoever can reach the broker can send anything; payloads.py reads it strictly. What is decided here is whom the reply
may go to, and what each kind of message means.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from edge_app.errors import BadRequestError
from edge_app.messages import BadRequest, Command, Question
from edge_app.mqtt.payloads import (
    camera_name,
    choice_list,
    cleaned,
    decoded,
    json_object,
    only_keys,
    plain,
    question_text,
    region_box,
    short_text,
    time_limit_s,
)
from edge_app.mqtt.topics import Topics

MAX_CORRELATION_BYTES = 64
MAX_ID_CHARS = 64
MAX_PROMPT_CHARS = 128

QUESTION_KEYS = {"id", "question", "camera", "choices", "region", "timeout_s"}
COMMAND_KEYS = {"transaction", "camera"}
COMMAND_NAME = re.compile(r"(rule/)?[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True)
class Receipt:
    """Which message of which connection is to be acknowledged."""

    connection: int
    mid: int


@dataclass(frozen=True)
class Inbound:
    """A message as it arrived. `payload` is empty when `size_bytes` says that it was over the limit."""

    topic: str
    payload: bytes
    size_bytes: int
    retained: bool
    response_topic: str | None = None
    correlation: bytes | None = None
    repeated: bool = False
    """The broker has sent it before and had no acknowledgement (the DUP flag)."""
    receipt: Receipt | None = None
    """What its acknowledgement needs; None where none is owed (QoS 0)."""

    @property
    def fingerprint(self) -> str:
        """The same for the same words to the same address."""
        digest = hashlib.sha256(f"{self.topic}\0{self.response_topic}\0".encode())
        digest.update(b"" if self.correlation is None else b"%d:" % len(self.correlation) + self.correlation)
        digest.update(b"\0" + self.payload)
        return digest.hexdigest()[:32]

    @property
    def delivery(self) -> str:
        """The same for each copy of one message: the broker repeats it under the same packet identifier."""
        return f"{self.fingerprint}-{self.receipt.mid if self.receipt else 0}"


@dataclass(frozen=True)
class Rules:
    """What the configuration allows."""

    topics: Topics
    response_prefixes: tuple[str, ...]
    timeout_s: float
    max_timeout_s: float
    max_question_chars: int


def parse_question(message: Inbound, rules: Rules, new_id: Callable[[], str]) -> Question | BadRequest:
    """Read an `ask` message; `new_id` makes the id of its answer, and of a question that brought none."""
    request_id: str | None = None
    response_topic, correlation, refusal = _reply_address(message, rules)
    try:
        if refusal:
            # The question is refused, but its id helps the asker, who is told on `answer`.
            request_id = _id_of_refused(message)
            raise BadRequestError(refusal)
        text = decoded(message.payload, message.size_bytes)
        if not text.startswith("{"):
            question = question_text(plain(text), rules.max_question_chars)
            timeout_s = rules.timeout_s
            camera, choices, region = None, None, None
        else:
            values = json_object(text)
            request_id = short_text("id", values.get("id"), MAX_ID_CHARS)
            only_keys(values, QUESTION_KEYS)
            question = question_text(values.get("question"), rules.max_question_chars)
            camera = camera_name(values.get("camera"))
            choices = choice_list(values.get("choices"))
            region = region_box(values.get("region"))
            timeout_s = time_limit_s(values.get("timeout_s"), rules.timeout_s, rules.max_timeout_s)
    except BadRequestError as error:
        return BadRequest(str(error), request_id, response_topic, correlation)
    msg_id = new_id()
    return Question(
        id=request_id or msg_id,
        question=question,
        camera=camera,
        choices=choices,
        region=region,
        timeout_s=timeout_s,
        response_topic=response_topic,
        correlation=correlation,
        retryable=request_id is not None or correlation is not None,
        msg_id=msg_id,
        fingerprint=message.fingerprint,
        delivery=message.delivery,
    )


def parse_command(message: Inbound, name: str, rules: Rules) -> Command | BadRequest:
    """Read a `request/<name>` message: nothing, or `{"transaction", "camera"}`. Unknown names pass.

    Of `request/rule/<name>` all keys but the transaction are the rule's, and left to who knows what a rule is.
    """
    transaction: str | None = None
    response_topic, correlation, refusal = _reply_address(message, rules)
    try:
        if refusal:
            raise BadRequestError(refusal)
        if not COMMAND_NAME.fullmatch(name):
            raise BadRequestError("A command is named by 1 to 32 of a-z, 0-9 and _; use request/info, for example.")
        text = decoded(message.payload, message.size_bytes)
        values = json_object(text) if text else {}
        transaction = short_text("transaction", values.pop("transaction", None), MAX_ID_CHARS)
        if name.startswith("rule/"):
            return Command(name, transaction, None, response_topic, correlation, values)
        only_keys(values, COMMAND_KEYS)
        camera = camera_name(values.get("camera"))
    except BadRequestError as error:
        return BadRequest(str(error), transaction, response_topic, correlation)
    return Command(name, transaction, camera, response_topic, correlation)


def parse_setting(message: Inbound, key: str) -> bool | float | str:
    """Read a `<key>/set` message: pause is ON or OFF, interval seconds, prompt text. BadRequestError."""
    text = decoded(message.payload, message.size_bytes)
    if key == "pause":
        if text.upper() not in {"ON", "OFF"}:
            raise BadRequestError("pause is ON or OFF; send one of them.")
        return text.upper() == "ON"
    if key == "interval":
        # float() alone would take "nan", "1_0" and digits of other scripts.
        interval_s = float(text) if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) else math.nan
        if not 0 <= interval_s <= 86_400:
            raise BadRequestError("interval is a number of seconds from 0 to 86400; send one.")
        return interval_s
    return cleaned("prompt", text, MAX_PROMPT_CHARS)


def _reply_address(message: Inbound, rules: Rules) -> tuple[str | None, bytes | None, str | None]:
    """Response topic and correlation data as far as they are lawful, and what is wrong with them, if anything."""
    topic, correlation, refusal = message.response_topic, message.correlation, None
    if topic is not None and (reason := rules.topics.why_not_response(topic, rules.response_prefixes)):
        topic, refusal = None, f"The response topic {reason}; choose another, or leave it out and watch `answer`."
    if correlation is not None and len(correlation) > MAX_CORRELATION_BYTES:
        refusal = refusal or (
            f"The correlation data has {len(correlation)} bytes and {MAX_CORRELATION_BYTES} is the limit; shorten it."
        )
        correlation = None
    return topic, correlation, refusal


def _id_of_refused(message: Inbound) -> str | None:
    try:
        values = json_object(decoded(message.payload, message.size_bytes))
        return short_text("id", values.get("id"), MAX_ID_CHARS)
    except BadRequestError:
        return None
