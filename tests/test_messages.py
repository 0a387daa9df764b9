"""Results on the wire: the fields of the contract, strict JSON, UTC times."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from edge_app.messages import Question, Result, failed, from_worker, rfc3339

NOW_UNIX_S = 1_795_261_858.1234  # 2026-11-21T11:50:58.123Z

FIELDS = {
    "v", "type", "id", "msg_id", "camera", "text", "question", "confidence", "p_yes", "yes_no_mass", "frame_id",
    "frame_ts", "ts", "age_ms", "model", "device", "tokens", "timing_ms", "status", "error",
}  # fmt: skip


def worker_result(**changes: Any) -> dict[str, Any]:
    return {
        "text": "a red square",
        "token_ids": [5, 6, 7],
        "confidence": 0.87654321,
        "p_yes": None,
        "yes_no_mass": None,
        "frame_id": 812,
        "frame_ts": NOW_UNIX_S - 0.25,
        "captured_s": 99.75,
        "model": "blip-base",
        "device": "CPU",
        "tokens": 3,
        "timing_ms": {"image": 2.0, "vision": 201.236, "question": None, "decode": 63.0, "total": 281.0},
        **changes,
    }  # fmt: skip


def result(**changes: Any) -> Result:
    values = worker_result(**changes)
    return from_worker("caption", values, camera="door", now_unix_s=NOW_UNIX_S, now_s=100.0)


def test_a_result_has_exactly_the_fields_of_the_contract() -> None:
    """Consumers rely on every field being there, with null where there is nothing to say."""
    for made in (result(), failed("answer", "busy", "Later.", now_unix_s=NOW_UNIX_S)):
        values = json.loads(made.to_json())
        assert values.keys() == FIELDS
        assert values["v"] == 1
    assert json.loads(result().to_json())["timing_ms"].keys() == {"image", "vision", "question", "decode", "total"}


def test_times_are_utc_with_milliseconds_and_age_is_monotonic() -> None:
    """Captured at 99.75 s, published at 100 s of the monotonic clock: 250 ms old, whatever the wall clock did."""
    values = json.loads(result().to_json())
    assert values["ts"] == "2026-11-21T11:50:58.123Z"
    assert values["frame_ts"] == "2026-11-21T11:50:57.873Z"
    assert values["age_ms"] == 250
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"


def test_an_answer_repeats_id_and_question() -> None:
    """The asker finds its own words in the answer."""
    question = Question(
        "q1", "what is it", "door", None, None, 10, None, None, msg_id="m1", fingerprint="f1", delivery="f1"
    )
    made = from_worker("answer", worker_result(), camera="door", now_unix_s=NOW_UNIX_S, now_s=100.0, question=question)
    assert (made.id, made.question, made.type) == ("q1", "what is it", "answer")


def test_an_error_has_no_text() -> None:
    """An error never travels as the text of a caption."""
    made = failed("answer", "timeout", "It took too long.", now_unix_s=NOW_UNIX_S, id="q1")
    values = json.loads(made.to_json())
    assert values["text"] is None
    assert (values["status"], values["error"]) == ("error", {"code": "timeout", "message": "It took too long."})


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_nan_never_leaves_as_json(broken: float) -> None:
    """NaN is not JSON; a consumer's parser would fail far from the cause."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        result(confidence=broken).to_json()


@pytest.mark.parametrize("missing", ["text", "frame_id", "captured_s", "timing_ms"])
def test_a_malformed_worker_result_is_refused(missing: str) -> None:
    """What the worker promised and did not send is an error here, not in a consumer."""
    values = worker_result()
    del values[missing]
    with pytest.raises(KeyError):
        from_worker("caption", values, camera="door", now_unix_s=0, now_s=0)
