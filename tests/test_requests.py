"""What strangers send: every payload becomes a Question, a Command or a BadRequest, and nothing raises."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest

from edge_app.errors import BadRequestError
from edge_app.messages import BadRequest, Command, Question
from edge_app.mqtt.payloads import MAX_PAYLOAD_BYTES, clean
from edge_app.mqtt.requests import Inbound, Rules, parse_command, parse_question, parse_setting
from edge_app.mqtt.topics import Topics
from tests.fuzz.strategies import HOSTILE

__all__ = ["HOSTILE"]
TOPICS = Topics("edge_app", "kitchen")
RULES = Rules(TOPICS, ("reply/",), timeout_s=10, max_timeout_s=60, max_question_chars=256)


def inbound(payload: bytes, topic: str = TOPICS.ask, **more: Any) -> Inbound:
    return Inbound(topic=topic, payload=payload, size_bytes=len(payload), retained=False, **more)


def read(payload: bytes | dict[str, Any], **more: Any) -> Question | BadRequest:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return parse_question(inbound(data, **more), RULES, lambda: "made-1")


def question(payload: bytes | dict[str, Any], **more: Any) -> Question:
    parsed = read(payload, **more)
    assert isinstance(parsed, Question), parsed
    return parsed


def refusal(payload: bytes | dict[str, Any], **more: Any) -> BadRequest:
    parsed = read(payload, **more)
    assert isinstance(parsed, BadRequest), parsed
    return parsed


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_payload_is_refused_in_a_sentence(name: str) -> None:
    """A refusal is one line, ends as a sentence, can be encoded, and takes no longer than an honest question."""
    began_s = time.perf_counter()
    message = refusal(HOSTILE[name]).message
    assert time.perf_counter() - began_s < 0.25
    assert message.isprintable() and message.endswith(".")
    message.encode("utf-8")


def test_accents_in_a_row_are_judged_before_they_are_sorted() -> None:
    """Normalising takes time with the square of their number: what is far too long is refused as it came."""
    accents = "a" + "\u0301\u0323" * 3900
    for payload in (
        accents.encode(),
        json.dumps({"question": "what", "choices": [accents]}, ensure_ascii=False).encode(),
    ):
        assert "has 7801 characters" in refusal(payload).message
    assert len(question("e\u0301".encode() * 256).question) == 256  # 512 characters as they come


def test_size_is_judged_before_anything_is_parsed() -> None:
    """Of an oversized message only the size is known; its payload was let go on arrival."""
    parsed = parse_question(Inbound(TOPICS.ask, b"", 200_000_000, False), RULES, lambda: "made-1")
    assert isinstance(parsed, BadRequest)
    assert "200000000 bytes" in parsed.message


def test_plain_text_is_a_question_with_the_defaults() -> None:
    """The simplest client publishes a sentence."""
    asked = question(b" What is on the table? \n")
    assert (asked.question, asked.id, asked.timeout_s) == ("What is on the table?", "made-1", 10)
    assert (asked.camera, asked.choices, asked.region, asked.retryable) == (None, None, None, False)


def test_every_field_of_a_json_question_arrives() -> None:
    """An object names everything; numbers may be written as integers."""
    asked = question(
        {
            "id": "Frage 7",
            "question": "Which?",
            "camera": "door-1",
            "choices": ["red", "blue"],
            "region": [0, 0.25, 1, 1],
            "timeout_s": 2,
        }
    )
    assert (asked.id, asked.camera, asked.choices) == ("Frage 7", "door-1", ("red", "blue"))
    assert (asked.region, asked.timeout_s, asked.retryable) == ((0, 0.25, 1, 1), 2, True)


def test_null_is_the_same_as_left_out() -> None:
    """Clients that always send every key need not know the defaults."""
    values = {"id": None, "question": "what", "camera": None, "choices": None, "region": None, "timeout_s": None}
    plain = question(b"what")
    assert dataclasses.replace(question(values), fingerprint=plain.fingerprint, delivery=plain.delivery) == plain


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"region": [0.5, 0, 0.1, 1]}, "region is [0.5, 0, 0.1, 1] and must be"),
        ({"region": [0, 25, 1]}, "region is [0, 25, 1] and must be four numbers"),
        ({"region": [[[[[[[[1]]]]]]]]}, "region is [[[[[[[...]]]]]]] and must be"),
        ({"camera": "\u202efront door\n"}, "camera is '\\u202efront door\\n' and must be"),
        ({"camera": "x" * 5000}, "xxx...xxx"),
        ({"id": 7}, "id is 7 and must be text"),
        ({"timeout_s": 61}, "timeout_s is 61 and must be a number above 0 and at most 60"),
    ],
)
def test_a_value_that_is_refused_is_shown(values: dict[str, Any], told: str) -> None:
    """Whoever reads the answer need not have what was asked; what is long is cut, what is no text is escaped."""
    message = refusal({"question": "what", **values}).message
    assert told in message and message.isprintable() and len(message) < 300


def test_what_is_no_json_is_called_so() -> None:
    """Of a question that begins as an object, and of a command that does not."""
    assert "is not valid JSON; send an object" in refusal(b'{"question": what}').message
    refused = parse_command(inbound(b"hello", "edge_app/kitchen/request/rule/add"), "rule/add", RULES)
    assert isinstance(refused, BadRequest)
    assert refused.message.startswith("The payload is not valid JSON; send an object such as {")


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("what\x00 is \u202ethis", "what is this"),
        ("\x1b[2Jwhat", "[2Jwhat"),
        ("what\r\nlevel=ERROR forged", "what level=ERROR forged"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("e\u200b\u0301", "\u00e9"),
        ("\ufeffwhat\u2028now", "what now"),
        ("\ud800what", "what"),
        ("猫は", "猫は"),
    ],
)
def test_text_is_cleaned(raw: str, cleaned: str) -> None:
    """NFC; control, format and bidi characters gone; line breaks are spaces: a log line cannot be forged."""
    assert clean(raw) == cleaned


def test_the_id_of_a_refused_question_is_known_when_it_could_be_read() -> None:
    """The asker finds its refusal by the id, also when the response topic was the fault."""
    assert refusal({"id": "q1", "question": "what", "region": [1]}).id == "q1"
    assert refusal({"id": "q1", "question": "what"}, response_topic="$SYS/x").id == "q1"
    assert refusal({"id": "q1", "question": "what", "unknown": 1}).id == "q1"
    assert refusal(b'{"id": "q1", "question": "wh').id is None
    assert refusal(b"what", response_topic="$SYS/x").id is None


@pytest.mark.parametrize("topic", ["reply/me", "reply/", "edge_app/kitchen/reply/7"])
def test_a_response_topic_under_an_allowed_prefix_is_kept(topic: str) -> None:
    """MQTT 5: the answer goes where the asker says, with its correlation data, byte for byte."""
    correlation = bytes(range(64))
    asked = question(b"what", response_topic=topic, correlation=correlation)
    assert (asked.response_topic, asked.correlation, asked.retryable) == (topic, correlation, True)


@pytest.mark.parametrize(
    "topic",
    [
        "reply/+",
        "reply/#",
        "$SYS/broker",
        "edge_app/other/ask",
        "edge_app/kitchen/ask",
        "edge_app/kitchen/pause/set",
        "elsewhere/me",
        "reply",
        "reply/\x00",
        "reply/\u202e",
        "reply/\ud800",
        "reply/" + "x" * 65_000,
        "",
    ],
)
def test_a_foreign_response_topic_is_refused_and_not_used(topic: str) -> None:
    """A node never publishes where a stranger could make it command another node."""
    refused = refusal(b"what", response_topic=topic, correlation=b"c")
    assert refused.response_topic is None
    assert "response topic" in refused.message


def test_an_allowed_prefix_cannot_open_the_topics_of_nodes() -> None:
    """Whatever the configuration allows, an answer is never a question or a setting of a node."""
    assert TOPICS.why_not_response("edge_app/other/ask", ("edge_app/",))
    assert TOPICS.why_not_response("edge_app", ("e",))
    assert TOPICS.why_not_response("edge_apples/x", ("edge_apples/",)) is None


def test_correlation_data_over_64_bytes_is_refused_and_not_repeated() -> None:
    """The refusal still goes to the response topic, which is lawful."""
    refused = refusal(b"what", response_topic="reply/me", correlation=b"x" * 65)
    assert (refused.response_topic, refused.correlation) == ("reply/me", None)
    assert "65 bytes" in refused.message


def test_a_command_is_read_and_its_name_checked() -> None:
    """Nothing, or an object with transaction and camera; anything else is refused with its transaction."""
    topic = "edge_app/kitchen/request/info"
    assert parse_command(inbound(b"", topic), "info", RULES) == Command("info", None, None, None, None)
    full = parse_command(inbound(b'{"transaction": "t", "camera": "door"}', topic), "caption", RULES)
    assert full == Command("caption", "t", "door", None, None)
    refused = parse_command(inbound(b'{"transaction": "t", "x": 1}', topic), "info", RULES)
    assert isinstance(refused, BadRequest) and refused.id == "t"
    rule = parse_command(inbound(b'{"transaction": "t", "id": "cup"}', topic), "rule/remove", RULES)
    assert rule == Command("rule/remove", "t", None, None, None, {"id": "cup"})
    for name in ("Info", "a b", "", "x" * 33, "\u202e"):
        assert isinstance(parse_command(inbound(b"", topic), name, RULES), BadRequest)


@pytest.mark.parametrize(
    ("key", "payload", "expected"),
    [
        ("pause", b"ON", True),
        ("pause", b"off", False),
        ("interval", b"2.5", 2.5),
        ("interval", b"0", 0),
        ("prompt", b" a photo of\x00 ", "a photo of"),
        ("prompt", b"", ""),
    ],
)
def test_a_setting_is_read(key: str, payload: bytes, expected: object) -> None:
    """Home Assistant's plain payloads: ON and OFF, a number, text."""
    assert parse_setting(inbound(payload), key) == expected


@pytest.mark.parametrize(
    ("key", "payload"),
    [
        ("pause", b"1"),
        ("pause", b"\xff"),
        ("interval", b"nan"),
        ("interval", b"-1"),
        ("interval", b"86401"),
        ("interval", b"1_0"),
        ("interval", "٣".encode()),
        ("prompt", b"x" * 129),
        ("prompt", b"x" * (MAX_PAYLOAD_BYTES + 1)),
    ],
)
def test_an_illegal_setting_is_refused(key: str, payload: bytes) -> None:
    """What float() would take (nan, 1_0, digits of other scripts) is still no interval."""
    with pytest.raises(BadRequestError):
        parse_setting(inbound(payload), key)


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("edge_app/kitchen/ask", ("ask", "")),
        ("edge_app/kitchen/pause/set", ("set", "pause")),
        ("edge_app/kitchen/request/info", ("request", "info")),
        ("edge_app/kitchen/answer", ("", "")),
        ("edge_app/kitchen/volume/set", ("", "")),
        ("edge_app/kitchen2/ask", ("", "")),
        ("ask", ("", "")),
    ],
)
def test_a_topic_is_routed(topic: str, expected: tuple[str, str]) -> None:
    """Only what the node subscribed to has a meaning."""
    assert TOPICS.route(topic) == expected
