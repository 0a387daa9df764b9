"""Strict readers for what strangers send: text, JSON objects and their fields.

The order is the defence: size before parse, strict JSON, strict fields, clean text. Everything that is wrong raises
BadRequestError with a sentence for the sender, and nothing of the input is echoed unless it has been cleaned, or
cut and escaped.
"""

from __future__ import annotations

import json
import re
import reprlib
import unicodedata
from typing import Any

from edge_app.box import has_area
from edge_app.errors import BadRequestError
from edge_app.messages import Region

MAX_PAYLOAD_BYTES = 16 * 1024  # 64 choices of 64 four-byte characters fill it
MAX_CHOICES, MAX_CHOICE_CHARS = 64, 64

CAMERA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
JSON_SCALAR = re.compile(r"-?\d[\d.eE+-]*|null|true|false|NaN|-?Infinity")

_SHORT = reprlib.Repr()  # bounded in length and depth, whatever was sent
_SHORT.maxstring = 64


def clean(text: str) -> str:
    """Normal form NFC; line breaks and tabs as spaces; control, format and bidi characters gone."""
    kept = (
        " " if char.isspace() else char
        for char in unicodedata.normalize("NFC", text)
        if char.isspace() or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )
    # Taking characters away can bring a letter next to its accent: normalise the remainder again.
    return unicodedata.normalize("NFC", " ".join("".join(kept).split()))


def quoted(value: object) -> str:
    """A value that is refused, as its sender may see it again: cut where it is long, escaped where it is no text."""
    return _SHORT.repr(value)


def cleaned(what: str, text: str, limit_chars: int) -> str:
    """`text`, cleaned, of at most `limit_chars`; `what` begins the sentence that refuses more.

    Judged roughly before it is cleaned: normalising accents in a row takes time with the square of their number, and
    16 KiB of them took 70 ms.
    """
    text = clean(text) if len(text) <= 4 * limit_chars else text
    if len(text) > limit_chars:
        raise BadRequestError(f"{what} has {len(text)} characters and {limit_chars} is the limit; shorten it.")
    return text


def decoded(payload: bytes, size_bytes: int) -> str:
    """The payload as text without surrounding white space; `size_bytes` is what was sent."""
    if size_bytes > MAX_PAYLOAD_BYTES:
        raise BadRequestError(f"The payload has {size_bytes} bytes and {MAX_PAYLOAD_BYTES} is the limit; shorten it.")
    try:
        return payload.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise BadRequestError(f"The payload is not UTF-8 (byte {error.start} is wrong); encode it as UTF-8.") from error


def plain(text: str) -> str:
    """A payload that is not an object: plain words pass, other JSON does not."""
    if not text:
        raise BadRequestError("The payload is empty; send a question.")
    if text.startswith("[") or JSON_SCALAR.fullmatch(text):
        raise BadRequestError("A question is plain text or a JSON object, and this is another kind of JSON.")
    return text


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object strictly: no NaN, no duplicate keys, no nesting that exhausts the stack."""

    def refuse_constant(name: str) -> float:
        raise BadRequestError(f"The JSON holds {name}, which is not JSON; leave it out.")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            raise BadRequestError("The JSON object names a key twice; name each once.")
        return values

    try:
        values = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=unique)
    except RecursionError as error:
        raise BadRequestError("The JSON is nested too deeply; send a flat object.") from error
    except ValueError as error:  # syntax, or a number of thousands of digits
        raise BadRequestError(
            'The payload is not valid JSON; send an object such as {"key": "text"}, with double quotes.'
        ) from error
    if not isinstance(values, dict):
        raise BadRequestError("The payload is JSON but not an object; send an object.")
    return values


def only_keys(values: dict[str, Any], known: set[str]) -> None:
    """Refuse an object with a key that is not in `known`."""
    unknown = sorted(clean(key[:32]) for key in values.keys() - known)
    if unknown:
        raise BadRequestError(f"The key {unknown[0]!r} is unknown (known: {', '.join(sorted(known))}); leave it out.")


def short_text(key: str, value: object, limit_chars: int) -> str | None:
    """Text that is echoed as it came, so it must be clean already."""
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= limit_chars or clean(value) != value:
        raise BadRequestError(
            f"{key} is {quoted(value)} and must be text of 1 to {limit_chars} plain characters; correct it."
        )
    return value


def question_text(value: object, limit_chars: int) -> str:
    """The cleaned question: at least one letter or digit, at most `limit_chars` characters."""
    if not isinstance(value, str):
        raise BadRequestError("question must be text; send one.")
    question = cleaned("The question", value, limit_chars)
    if not any(char.isalnum() for char in question):
        raise BadRequestError("The question holds no letter and no digit; send a question.")
    return question


def camera_name(value: object) -> str | None:
    """The name of a camera, which need not exist; None when left out."""
    if value is None:
        return None
    if not isinstance(value, str) or not CAMERA_NAME.fullmatch(value):
        raise BadRequestError(
            f"camera is {quoted(value)} and must be the name of a camera (letters, digits, _ and -); see `info`."
        )
    return value


def choice_list(value: object) -> tuple[str, ...] | None:
    """The cleaned choices, all different; None when left out."""
    if value is None:
        return None
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CHOICES:
        raise BadRequestError(f"choices must be a list of 1 to {MAX_CHOICES} texts; correct it.")
    choices = tuple(
        cleaned("A choice", choice, MAX_CHOICE_CHARS) if isinstance(choice, str) else "" for choice in value
    )
    if not all(choices):
        raise BadRequestError(f"Each choice must be text of 1 to {MAX_CHOICE_CHARS} characters; correct them.")
    if len(set(choices)) != len(choices):
        raise BadRequestError("The choices repeat one of them; name each once.")
    return choices


def region_box(value: object) -> Region | None:
    """The region as fractions of the picture; None when left out."""
    if value is None:
        return None
    edges = [number(edge) for edge in value] if isinstance(value, list) else []
    if len(edges) != 4 or None in edges:
        raise BadRequestError(f"region is {quoted(value)} and must be four numbers, [x0, y0, x1, y1]; correct it.")
    x0, y0, x1, y1 = (edge for edge in edges if edge is not None)
    if not has_area((x0, y0, x1, y1)):
        raise BadRequestError(
            f"region is {quoted(value)} and must be [x0, y0, x1, y1] as fractions, with 0 <= x0 < x1 <= 1 and "
            "0 <= y0 < y1 <= 1; correct it."
        )
    return x0, y0, x1, y1


def time_limit_s(value: object, default_s: float, limit_s: float) -> float:
    """Seconds above 0 and at most `limit_s`; `default_s` when left out."""
    if value is None:
        return default_s
    seconds = number(value)
    if seconds is None or not 0 < seconds <= limit_s:
        raise BadRequestError(
            f"timeout_s is {quoted(value)} and must be a number above 0 and at most {limit_s:g}; correct it."
        )
    return seconds


def number(value: object) -> float | None:
    """A finite JSON number as float, else None; true and false are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer may have thousands of digits: compare before converting.
    return float(value) if -1e15 < value < 1e15 else None
