"""Configurations for tests, written from values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping


def toml(tables: Iterable[tuple[str, Mapping[str, object]]]) -> str:
    """Tables, each with its header as it stands in the file; JSON's texts, numbers and lists are TOML's as well."""
    lines: list[str] = []
    for header, table in tables:
        lines += [header, *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()), ""]
    return "\n".join(lines)
