"""The display, what waits on the disk, and what is told of the service itself."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from edge_app.section import Name, Section

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
VIDEO_SUFFIXES = (".mkv", ".avi", ".mp4")


class DisplayConfig(Section):
    """Where the overlay is shown."""

    backend: Literal["none", "kms", "window", "file"] = Field(
        default="none",
        description="`none`; `kms`: an HDMI screen without a desktop (needs the extra `display`); `window`: on the "
        "desktop of `$DISPLAY`; `file`: into `path`.",
    )
    path: Path | None = Field(
        default=None,
        validate_default=True,
        description="File of the `file` backend: a picture (`.png`, `.jpg`, `.jpeg`) that is replaced, or a video "
        "(`.mkv`, `.avi`, `.mp4`).",
    )
    camera: Name | None = Field(
        default=None,
        description="Name of the camera that is shown; left out: the one with the newest caption, for 10 s at least.",
    )
    picture: bool = Field(
        default=True, description="Show the camera's picture; false: what is said about it, and nothing of itself."
    )
    fps: int | None = Field(
        default=None,
        ge=1,
        le=60,
        description="Pictures a second at most; left out: 60 on a screen, 10 in a video, 1 in a picture file.",
    )
    video_mib: int = Field(
        default=256,
        ge=1,
        le=65536,
        description="Size of a video in MiB; then, and at each start, it becomes `<name>.old<suffix>`.",
    )

    @field_validator("path")
    @classmethod
    def _file_is_named(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        if path is None and info.data.get("backend") == "file":
            raise ValueError('backend is "file" but path is not set; name the picture file or video')
        if path is not None and path.suffix.lower() not in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES):
            raise ValueError(
                f"the display writes no file {path.name!r}; let its name end in {', '.join(PICTURE_SUFFIXES)} for a "
                f"picture, or in {', '.join(VIDEO_SUFFIXES)} for a video"
            )
        return path


class StoreConfig(Section):
    """Where answers and events wait for the broker, and questions for their answers, whatever happens meanwhile."""

    dir: Path | None = Field(
        default=None,
        description="Folder of `messages.db`; left out: `model.state_dir`, else systemd's state folder "
        "(`$STATE_DIRECTORY`), else `/var/lib/edge-app`.",
    )
    limit_mib: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Size of the messages together, in MiB; beyond, the oldest captions go "
        "first, then the oldest answers.",
    )
    memory_mib: int = Field(
        default=4, ge=1, le=64, description="The same while the disk takes nothing and they wait in memory."
    )
    answer_age_d: float = Field(default=7, gt=0, le=365, description="Days until a waiting answer or event is dropped.")
    caption_age_h: float = Field(default=24, gt=0, le=8760, description="Hours until a waiting caption is dropped.")


class LogConfig(Section):
    """What is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Least level logged.")


class HealthConfig(Section):
    """What is reported of the service itself."""

    interval_s: float = Field(default=60, ge=1, le=86_400, description="Seconds between `health` messages.")


class MetricsConfig(Section):
    """The same for Prometheus."""

    port: int | None = Field(
        default=None, ge=1, le=65535, description="TCP port of the Prometheus endpoint; left out: there is none."
    )
    address: str = Field(
        default="127.0.0.1", description="IP address it listens on; everybody who reaches it may read."
    )

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise ValueError(f"{address!r} is no IP address; write 127.0.0.1, or 0.0.0.0 for all networks") from error
        return address
