"""A camera: its source, its login, and which part of its picture is used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from edge_app.box import has_area
from edge_app.section import Name, Section

NETWORK_KINDS = ("rtsp://", "rtsps://", "http://", "https://")
SOURCE_KINDS = ("/dev/", "v4l2:", *NETWORK_KINDS, "gst:", "file:", "scene:")
SCENE_OPTIONS = re.compile(r"(?:seed=([0-9]{1,9}))?")  # what may stand behind scene:


def _with_area(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if not has_area(box):
        raise ValueError(
            f"{list(box)} is no part of a picture; write [left, top, right, bottom] as fractions, "
            "left < right and top < bottom, within 0 to 1"
        )
    return box


Box = Annotated[tuple[float, float, float, float], AfterValidator(_with_area)]
"""Left, top, right, bottom as fractions of a picture."""


class CameraConfig(Section):
    """One camera."""

    name: Name = Field(description="Name of the camera in topics.")
    source: str = Field(
        min_length=1,
        description="`/dev/video0`, `rtsp://...`, `http://...`, `file:PATH` (video, image, folder), `gst:PIPELINE` "
        "(GStreamer) or `scene:`.",
    )
    credentials_file: Path | None = Field(
        default=None,
        description="File with one line `user:password` for an RTSP or HTTP camera; not readable by everybody.",
    )
    width_px: int = Field(default=1280, ge=16, le=3840, description="Width asked of the camera.")
    height_px: int = Field(default=720, ge=16, le=3840, description="Height asked of the camera.")
    fps: int = Field(default=15, ge=1, le=120, description="Frames per second asked of the camera.")
    rotation: Literal[0, 90, 180, 270] = Field(
        default=0, description="Degrees by which its picture is turned clockwise, for a camera that hangs otherwise."
    )
    crop: Box | None = Field(
        default=None,
        description="The part of the turned picture that is used, by model and display alike: left, top, right, bottom "
        "as fractions of it; left out: all.",
    )
    region: Box | None = Field(
        default=None,
        description="The part of what is used where captions, and questions and rules without a region of their own, "
        "look; left out: everywhere.",
    )
    interval_s: float | None = Field(
        default=None, ge=0, le=86_400, description="Seconds between its captions; left out: `caption.interval_s`."
    )
    stall_s: float = Field(
        default=6, ge=1, le=600, description="Seconds without a sign of life until its process is replaced."
    )

    @field_validator("source")
    @classmethod
    def _known_kind(cls, source: str) -> str:
        if "://" in source and not source.startswith("gst:") and re.search(r"[\s\x00-\x1f\x7f]", source):
            raise ValueError(
                "an address holds no white space and no control character; write %20, and %40 for an @ or %2F for a / "
                "in a password"
            )
        if source.startswith(NETWORK_KINDS) and not _is_address(source):
            raise ValueError(
                "it is no address of a camera; write KIND://USER:PASSWORD@HOST:PORT/PATH, with %40, %2F, %3F and %23 "
                "for each other @, /, ? and #, or put user and password into a credentials_file"
            )
        if not source.startswith(SOURCE_KINDS):
            shown = without_login(source)
            raise ValueError(f"the source {shown!r} is of no known kind; it begins with {', '.join(SOURCE_KINDS)}")
        return source

    @field_validator("source")
    @classmethod
    def _known_scene(cls, source: str) -> str:
        if source.startswith("scene:") and not SCENE_OPTIONS.fullmatch(source.removeprefix("scene:")):
            raise ValueError(f"the source {source!r} has unknown options; write scene: or scene:seed=3")
        return source

    @field_validator("credentials_file")
    @classmethod
    def _login_is_used_once(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        source = info.data.get("source")
        if path is None or source is None:
            return path
        if not source.startswith(NETWORK_KINDS):
            raise ValueError(f"credentials_file is set but the source is none of {', '.join(NETWORK_KINDS)}; remove it")
        if "@" in source.partition("?")[0]:
            raise ValueError("credentials_file is set and the source has a login too; take it out of the source")
        return path


def _is_address(source: str) -> bool:
    """Whether host and port can be told; not where a login is cut short by a character that ends the host."""
    before_last, at, _ = source.partition("://")[2].rpartition("@")
    if at and re.search(r"[/?#]", before_last):
        return False
    try:
        parts = urlsplit(source)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # without its words, which may be a part of the password
        return False


def without_login(text: str) -> str:
    """A source that is none, as it may be shown: of `rtsp:/admin:secret@host` not what stands before the last @."""
    return without_credentials(re.sub(r"^([a-z][a-z0-9+.-]*:/+)?.*@", r"\1***@", text, flags=re.IGNORECASE | re.DOTALL))


# What tells a secret in GStreamer: user-id and user-pw of rtspsrc, their likes for proxies, passphrase of srtsrc, and
# what the sources of HTTP and of clouds have. A value is text with escapes and quoted parts, as gst-launch reads it; a
# quote that is not closed hides the rest.
_SECRET_PROPERTY = re.compile(
    r"""\b([\w-]*(?:user-id|proxy-id|username|-pw|password|passphrase|secret|token|access-key|cookies|extra-headers))"""
    r"""(\s*=\s*)(?:\\.|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|[^\s\\"'])+""",
    re.IGNORECASE | re.DOTALL,
)


def without_credentials(source: str) -> str:
    """`rtsp://user:secret@host/x?pwd=secret` as `rtsp://***@host/x?***`, also within a text; other text unchanged.

    Of a GStreamer pipeline also the properties of its sources that are called so: `user-pw=secret` is `user-pw=***`.
    """
    source = _SECRET_PROPERTY.sub(r"\1\2***", source)
    if source.startswith("gst:"):
        # White space may stand in an address there, quoted or escaped: up to the next element.
        source = re.sub(r"([a-z][a-z0-9+.-]*://)[^!]*@", r"\1***@", source, flags=re.IGNORECASE)
    # To the last @ of the word: people forget to percent-encode the slash of a password.
    source = re.sub(r"([a-z][a-z0-9+.-]*://)\S*@", r"\1***@", source, flags=re.IGNORECASE)
    return re.sub(r"([a-z][a-z0-9+.-]*://[^?\s]*)\?[^\s'\"]+", r"\1?***", source, flags=re.IGNORECASE)
