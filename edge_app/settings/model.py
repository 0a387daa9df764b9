"""The model, and what it is asked: captions by themselves, questions, and when neither is worth an inference."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from edge_app.minisign import parse_public_key
from edge_app.section import Section
from edge_app.state import state_folder


class ModelConfig(Section):
    """The vision-language model and its process."""

    bundles: tuple[Path, ...] = Field(min_length=1, max_length=8, description="Bundle folders to load.")
    device: Literal["AUTO", "CPU", "GPU"] = Field(
        default="AUTO",
        description="Inference device; AUTO: what `edge-app bench --tune` found best, else the GPU if it passes its "
        "self-check, else the CPU.",
    )
    text_device: Literal["CPU", "GPU"] | None = Field(
        default=None, description="Device of question encoder and decoder; left out: the same as `device`."
    )
    threads: int = Field(default=0, ge=0, le=64, description="CPU inference threads; 0: OpenVINO decides.")
    cache_dir: Path | None = Field(default=None, description="Folder for compiled models; left out: no cache.")
    state_dir: Path | None = Field(
        default=None,
        description="Folder of what `edge-app bench --tune` found; left out: systemd's state folder "
        "(`$STATE_DIRECTORY`), else `/var/lib/edge-app`.",
    )
    trusted_keys: tuple[str, ...] = Field(
        default=(),
        max_length=2,
        description="Public keys of minisign (`RW...`), of which one must have signed each bundle; none: unsigned "
        "bundles are taken.",
    )
    start_timeout_s: float = Field(
        default=180,
        ge=1,
        le=1800,
        description="Seconds for one step of loading, such as one graph to compile; over it the process is replaced.",
    )
    request_timeout_s: float = Field(
        default=20, ge=0.1, le=600, description="Seconds for one inference; over it the process is replaced."
    )

    def hello(self) -> dict[str, Any]:
        """What the model's process is told of these settings, as JSON values."""
        return {
            "bundles": [str(bundle) for bundle in self.bundles],
            "device": self.device,
            "text_device": self.text_device,
            "threads": self.threads,
            "cache_dir": str(self.cache_dir) if self.cache_dir else None,
            "state_dir": str(state_folder(self.state_dir)),
            "trusted_keys": list(self.trusted_keys),
        }

    @field_validator("trusted_keys")
    @classmethod
    def _keys_of_minisign(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            parse_public_key(key)
        return keys


class CaptionConfig(Section):
    """Captions that nobody has to ask for."""

    enabled: bool = Field(default=True, description="Caption by itself; false: as if paused at start.")
    interval_s: float = Field(
        default=5, ge=0, le=86_400, description="Seconds between captions of a camera; 0: as fast as it goes."
    )
    prompt: str | None = Field(
        default=None, max_length=128, description="How captions begin; left out: the model's own."
    )
    history: bool = Field(
        default=False,
        description="Send every caption to `camera/<cam>/history` as well, at least once.",
    )


class GateConfig(Section):
    """No inference while the picture stands still."""

    enabled: bool = Field(
        default=False, description="Caption, and ask rules, only when the picture has changed, or after `refresh_s`."
    )
    refresh_s: float = Field(
        default=300, ge=1, le=86_400, description="Seconds after which a picture that stands still is looked at anew."
    )


class AskConfig(Section):
    """Questions over MQTT."""

    queue_length: int = Field(default=8, ge=1, le=256, description="Questions that wait; more are told `busy`.")
    max_timeout_s: float = Field(default=60, ge=0.1, le=600, description="The longest limit a question may ask for.")
    timeout_s: float = Field(
        default=10,
        ge=0.1,
        le=600,
        validate_default=True,
        description="Seconds until a question without its own limit is told `timeout`.",
    )
    max_question_chars: int = Field(default=256, ge=16, le=2000, description="Characters in a question.")

    @field_validator("timeout_s")
    @classmethod
    def _within_the_longest(cls, timeout_s: float, info: ValidationInfo) -> float:
        longest_s = info.data.get("max_timeout_s", timeout_s)
        if timeout_s > longest_s:
            raise ValueError(f"timeout_s is {timeout_s:g} but max_timeout_s only {longest_s:g}; raise it")
        return timeout_s
