"""What pydantic finds wrong with a setting, as a sentence that says what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel

from edge_app.section import NAME
from edge_app.settings import Config
from edge_app.settings.camera import without_login
from edge_app.settings.mqtt import TOPIC

# What to write, by the type of pydantic's error; the braces are filled from its context. Each is told with the value.
_WANTED = {
    "bool_type": "write true or false",
    "int_type": "write a whole number, without quotes",
    "int_from_float": "write a whole number",
    "float_type": "write a number, without quotes",
    "finite_number": "write a number that is not infinite",
    "string_type": "write a text in quotes",
    "path_type": "write a text in quotes",
    "tuple_type": "write a list, in brackets",
    "tables_type": "write one [[{section}]], with two brackets, for each",  # a kind of ours
    "model_type": "write a table",
    "literal_error": "write {expected}",
    "greater_than": "write a number above {gt:g}",
    "greater_than_equal": "write {ge:g} or more",
    "less_than": "write a number below {lt:g}",
    "less_than_equal": "write {le:g} or less",
    "string_too_short": "write at least one character",
    "string_too_long": "write at most {max_length} characters",
    "edge_missing": "write four numbers, [left, top, right, bottom] as fractions",  # a kind of ours
    "too_short": "give at least {min_length}",
    "too_long": "give at most {max_length}, not {actual_length}",
}
_PATTERNS = {
    NAME: "write 1 to 64 letters, digits, _ or -",
    TOPIC: "write one to four levels, separated by /, of letters, digits, _ or -",
}


def key_of(location: Sequence[str | int], tables: Mapping[str, Any]) -> str:
    """`mqtt.port`; of one of several cameras or rules also which: `camera.1.fps (camera number 2, "yard")`.

    The key counts from 0, and who reads it counts from 1.
    """
    key = ".".join(str(part) for part in location)
    if len(location) < 2 or not isinstance(number := location[1], int):
        return key
    section = str(location[0])
    several = tables.get(section)
    if not isinstance(several, list) or len(several) < 2:
        return key
    table = several[number]
    name = table.get("id" if section == "rule" else "name") if isinstance(table, dict) else None
    called = f', "{name}"' if isinstance(name, str) and re.search(NAME, name) else ""
    return f"{key} ({section} number {number + 1}{called})"


def sentence(problem: dict[str, Any], tables: Mapping[str, Any]) -> str:
    """One problem of pydantic's `ValidationError.errors()` as `mqtt.port: It is 70000; write 65535 or less.`"""
    kind, value, location = problem["type"], problem["input"], problem["loc"]
    if kind == "missing" and isinstance(location[-1], int):  # pydantic tells each edge that a list lacks
        kind, location = "edge_missing", location[:-1]
    context = problem.get("ctx", {})
    if kind == "tuple_type" and len(location) == 1:
        kind, context = "tables_type", {"section": location[0]}
    key = key_of(location, tables)
    if kind == "extra_forbidden":
        return f"{key}: This key is unknown{_suggestion(problem['loc'])}; remove it or correct its name."
    if kind == "missing":
        return f"{key}: This key is required; set it."
    if kind == "value_error":
        return f"{key}: {problem['msg'].removeprefix('Value error, ')}."
    wanted = _PATTERNS.get(context.get("pattern", "")) or _WANTED.get(kind, "").format_map(context) or problem["msg"]
    return f"{key}: It is {_without_secrets(value)!r}; {wanted}."


def _without_secrets(value: Any) -> Any:
    """`value`, a camera that is written where a list or a text belongs, say, as it may be shown.

    Its texts one by one: the quotes and backslashes that `repr` adds would end a password, or seem to.
    """
    if isinstance(value, str):
        return without_login(value)
    if isinstance(value, list | tuple):
        return [_without_secrets(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_secrets(each) for name, each in value.items()}
    return value


def _suggestion(location: tuple[str | int, ...]) -> str:
    """` (did you mean port?)`, when a known key is near."""
    known: list[str] = list(Config.model_fields)
    if len(location) > 1 and (field := Config.model_fields.get(str(location[0]))):
        models = [field.annotation, *get_args(field.annotation)]
        known = [
            name
            for model in models
            if isinstance(model, type) and issubclass(model, BaseModel)
            for name in model.model_fields
        ]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
