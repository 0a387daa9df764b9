"""What all settings share: a strict, frozen table, and names that are fit for topics and files."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[A-Za-z0-9_-]{1,64}$"  # one topic level, one file name, one log field
Name = Annotated[str, Field(pattern=NAME)]


class Section(BaseModel):
    """A table of the file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
