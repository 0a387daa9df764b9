"""What `request/rule/...` may say: an object's fields as a rule, each checked as strictly as those of a question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from edge_app.errors import BadRequestError
from edge_app.mqtt.payloads import (
    CAMERA_NAME,
    camera_name,
    clean,
    number,
    only_keys,
    question_text,
    quoted,
    region_box,
)
from edge_app.rules.rule import RuleConfig

LIST_KEYS = {"transaction"}  # of every command; it has been taken out by now, and may be named
REMOVE_KEYS = LIST_KEYS | {"id"}
ADD_KEYS = LIST_KEYS | set(RuleConfig.model_fields)
NUMBERS = ("threshold_on", "threshold_off", "cooldown_s", "interval_s")


def rule_from(values: Mapping[str, Any], max_question_chars: int) -> RuleConfig:
    """The rule that an object describes; null is as good as left out. BadRequestError."""
    given = {key: value for key, value in values.items() if value is not None}
    only_keys(given, ADD_KEYS)
    fields: dict[str, Any] = {
        **given,
        "id": rule_id(given),
        "question": question_text(given.get("question"), max_question_chars),
        "camera": camera_name(given.get("camera")),
        "region": region_box(given.get("region")),
    }
    for key in NUMBERS:
        if key in given and (value := number(given[key])) is None:
            raise BadRequestError(f"{key} is {quoted(given[key])} and must be a number; correct it.")
        if key in given:
            fields[key] = value
    try:
        return RuleConfig.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        if problem["type"] == "value_error":  # a sentence of ours, which names its keys
            raise BadRequestError(problem["msg"].removeprefix("Value error, ") + ".") from error
        key = ".".join(str(part) for part in problem["loc"])
        raise BadRequestError(f"{clean(key)} is {quoted(problem['input'])}: {problem['msg']}.") from error


def rule_id(values: Mapping[str, Any]) -> str:
    """The id of the rule that is meant. BadRequestError."""
    value = values.get("id")
    if value is None:
        raise BadRequestError('The id of the rule is missing; send an object such as {"id": "cup"}.')
    if not isinstance(value, str) or not CAMERA_NAME.fullmatch(value):
        raise BadRequestError(
            f"id is {quoted(value)} and must be the name of a rule (1 to 64 letters, digits, _ and -); correct it."
        )
    return value
