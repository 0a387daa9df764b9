"""What crosses the MQTT and JSON boundary, typed: questions and commands in, results out.

Times in a message are RFC 3339 text in UTC with milliseconds, `2026-11-21T11:50:58.123Z`; durations are numbers
with their unit in the name.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

ErrorCode = Literal["bad_request", "busy", "timeout", "camera_unavailable", "model_unavailable"]
ERROR_CODES: tuple[ErrorCode, ...] = (
    "bad_request",
    "busy",
    "timeout",
    "camera_unavailable",
    "model_unavailable",
)
ResultType = Literal["caption", "answer"]
RESULT_VERSION = 1

Region = tuple[float, float, float, float]
"""x0, y0, x1, y1 as fractions of the picture, 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1."""


@dataclass(frozen=True)
class Question:
    """A checked question; whoever holds one owes exactly one answer."""

    id: str
    question: str
    camera: str | None
    choices: tuple[str, ...] | None
    region: Region | None
    timeout_s: float
    response_topic: str | None
    """None: the answer goes to `<base>/<node>/answer`."""
    correlation: bytes | None
    """MQTT 5 Correlation Data, returned byte for byte."""
    retryable: bool = False
    """The asker named it (id or correlation data), so the same again is a repetition, not a second question."""
    msg_id: str = field(kw_only=True)
    """What its answer will be known by, after a restart, too."""
    fingerprint: str = field(kw_only=True)
    """The same for the same words to the same address, however often they come."""
    delivery: str = field(kw_only=True)
    """The same for the same message, however often the broker sends it."""


@dataclass(frozen=True)
class BadRequest:
    """A payload that is no question: what to tell, and whom."""

    message: str
    id: str | None
    response_topic: str | None
    correlation: bytes | None


@dataclass(frozen=True)
class Command:
    """A `request/<name>` message."""

    name: str
    transaction: str | None
    camera: str | None
    response_topic: str | None
    """None: the response goes to `response/<name>`."""
    correlation: bytes | None
    values: Mapping[str, Any] = field(default_factory=dict)
    """Of a `rule/<name>`: what it says of the rule, not checked."""


@dataclass(frozen=True)
class Error:
    """Why there is no text; it never travels as a caption."""

    code: ErrorCode
    message: str


@dataclass(frozen=True)
class TimingMs:
    """Milliseconds by stage; 0 or None: the stage did not run for this result, or was shared with an earlier one."""

    image: float | None = None
    vision: float | None = None
    question: float | None = None
    decode: float | None = None
    total: float | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """One caption, one answer, or one error in place of either."""

    v: int = RESULT_VERSION
    type: ResultType
    id: str | None = None
    msg_id: str | None = None
    """The same in each copy of this message, and in no other message."""
    camera: str | None = None
    text: str | None = None
    question: str | None = None
    confidence: float | None = None
    p_yes: float | None = None
    yes_no_mass: float | None = None
    frame_id: int | None = None
    frame_ts: str | None = None
    ts: str
    age_ms: float | None = None
    """From the capture of the frame to the publication of this result."""
    model: str | None = None
    device: str | None = None
    tokens: int | None = None
    timing_ms: TimingMs | None = None
    status: Literal["ok", "error"]
    error: Error | None = None

    def to_json(self) -> bytes:
        """Encode as one line of UTF-8. ValueError on NaN, infinity or a lone surrogate."""
        return encode(dataclasses.asdict(self))


class MessageIds:
    """Names for messages. A bare counter would begin again after a restart, and ids must not repeat."""

    def __init__(self) -> None:
        self._boot_id, self._numbers = secrets.token_hex(4), itertools.count(1)

    def next(self) -> str:
        """Another one."""
        return f"{self._boot_id}-{next(self._numbers)}"


def encode(values: Mapping[str, Any]) -> bytes:
    """JSON as it goes out: UTF-8, strict numbers. ValueError on NaN, infinity or a lone surrogate."""
    return json.dumps(values, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def rfc3339(unix_s: float) -> str:
    """Seconds since 1970, UTC, as text with milliseconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def failed(
    kind: ResultType,
    code: ErrorCode,
    message: str,
    *,
    now_unix_s: float,
    id: str | None = None,
    camera: str | None = None,
    question: str | None = None,
) -> Result:
    """A result that carries an error, with what is known of the request."""
    return Result(
        type=kind,
        status="error",
        ts=rfc3339(now_unix_s),
        id=id,
        camera=camera,
        question=question,
        error=Error(code, message),
    )


def from_worker(
    kind: ResultType,
    values: Mapping[str, Any],
    *,
    camera: str,
    now_unix_s: float,
    now_s: float,
    question: Question | None = None,
) -> Result:
    """The `result` object of the model worker's reply as a Result; `now_s` is the monotonic clock.

    KeyError, TypeError, ValueError or OverflowError if the object is not what the worker promises.
    """
    timing = {key: _rounded(value, 2) for key, value in values["timing_ms"].items()}
    return Result(
        type=kind,
        status="ok",
        ts=rfc3339(now_unix_s),
        id=question.id if question else None,
        camera=camera,
        text=str(values["text"]),
        question=question.question if question else None,
        confidence=_rounded(values["confidence"], 4),
        p_yes=_rounded(values["p_yes"], 4),
        yes_no_mass=_rounded(values["yes_no_mass"], 4),
        frame_id=int(values["frame_id"]),
        frame_ts=rfc3339(values["frame_ts"]),
        age_ms=_rounded((now_s - values["captured_s"]) * 1000, 1),
        model=str(values["model"]),
        device=str(values["device"]),
        tokens=int(values["tokens"]),
        timing_ms=TimingMs(**timing),
    )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
