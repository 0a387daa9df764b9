"""One standing rule, as the configuration file or a message says it."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from edge_app.box import has_area
from edge_app.messages import Region
from edge_app.section import Name, Section

MAX_RULES = 64  # those of the file and those that came by MQTT together


class RuleConfig(Section):
    """A yes/no question that is asked again and again, and when its answers count."""

    id: Name = Field(description="Name of the rule in topics.")
    question: str = Field(min_length=1, max_length=256, description="A question whose answer is yes or no.")
    camera: Name | None = Field(default=None, description="Name of a camera; left out: the first one.")
    region: Region | None = Field(
        default=None,
        description="`[x0, y0, x1, y1]`, the part of the picture it is about, as fractions from the upper left corner; "
        "left out: the camera's `region`, or the whole picture.",
    )
    threshold_on: float = Field(default=0.8, ge=0, le=1, description="P(yes) from which an answer says ON.")
    threshold_off: float = Field(
        default=0.2,
        ge=0,
        le=1,
        validate_default=True,
        description="P(yes) up to which an answer says OFF; one in between changes nothing.",
    )
    consecutive: int = Field(default=4, ge=1, le=100, description="Answers in a row that it takes to change the state.")
    cooldown_s: float = Field(
        default=0, ge=0, le=86_400, description="Seconds for which a change holds, whatever the answers say meanwhile."
    )
    interval_s: float | None = Field(
        default=None,
        ge=0,
        le=86_400,
        description="Seconds between answers; left out: `caption.interval_s`, and after each caption of its camera.",
    )
    snapshot: bool = Field(
        default=False, description="Publish the picture, at most 640 pixels wide, that turned the rule ON or OFF."
    )

    @field_validator("region")
    @classmethod
    def _has_area(cls, region: Region | None) -> Region | None:
        if region is not None and not has_area(region):
            raise ValueError(
                f"{list(region)} is no part of a picture; write [x0, y0, x1, y1] as fractions, "
                "x0 < x1 and y0 < y1, within 0 to 1"
            )
        return region

    @field_validator("threshold_off")
    @classmethod
    def _not_above_on(cls, threshold_off: float, info: ValidationInfo) -> float:
        threshold_on = info.data.get("threshold_on", threshold_off)
        if threshold_off > threshold_on:
            by_default = " by default" if threshold_off == cls.model_fields["threshold_off"].default else ""
            raise ValueError(
                f"threshold_on is {threshold_on:g}, below threshold_off, which is {threshold_off:g}{by_default}; "
                "raise threshold_on, or set threshold_off lower"
            )
        return threshold_off
