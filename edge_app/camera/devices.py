"""What V4L2 devices this machine has: name, driver, and the formats, sizes and frame rates that can be captured.

Asked of the kernel by ioctl (linux/videodev2.h, Video for Linux API, "Querying Capabilities" and "Enumerating Image
Formats"); OpenCV cannot list devices, and the libraries that can are GPL or need a compiler.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# struct v4l2_capability: driver, card, bus_info, version, capabilities, device_caps, reserved[3]
_CAPABILITY = struct.Struct("16s32s32sIII12x")
# struct v4l2_fmtdesc: index, type, flags, description, pixelformat, mbus_code, reserved[3]
_FORMAT = struct.Struct("III32sI16x")
# struct v4l2_frmsizeenum: index, pixel_format, type, {width, height} or {min, max, step} of both, reserved[2]
_FRAME_SIZE = struct.Struct("III6I8x")
# struct v4l2_frmivalenum: index, pixel_format, width, height, type, a fraction or {min, max, step} of them, reserved[2]
_INTERVAL = struct.Struct("5I6I8x")

_READ, _WRITE = 2, 1


def _request(direction: int, number: int, layout: struct.Struct) -> int:
    """The ioctl number: direction, size of the argument, type 'V', number (asm-generic/ioctl.h)."""
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


VIDIOC_QUERYCAP = _request(_READ, 0, _CAPABILITY)
VIDIOC_ENUM_FMT = _request(_READ | _WRITE, 2, _FORMAT)
VIDIOC_ENUM_FRAMESIZES = _request(_READ | _WRITE, 74, _FRAME_SIZE)
VIDIOC_ENUM_FRAMEINTERVALS = _request(_READ | _WRITE, 75, _INTERVAL)

CAP_VIDEO_CAPTURE, CAP_VIDEO_CAPTURE_MPLANE, CAP_DEVICE_CAPS = 0x1, 0x1000, 0x8000_0000
BUF_TYPE_VIDEO_CAPTURE, BUF_TYPE_VIDEO_CAPTURE_MPLANE = 1, 9
FRAME_SIZE_DISCRETE = FRAME_INTERVAL_DISCRETE = 1
MOST_ENTRIES = 64  # a driver that counts wrongly must not keep us

# What OpenCV makes pictures of (the formats that modules/videoio/src/cap_v4l.cpp tries). Others, such as H264 or the
# raw sensor data of a MIPI camera's own nodes, need a program between.
USABLE = (
    *("MJPG", "JPEG", "YUYV", "UYVY", "NV12", "NV21", "YU12", "YV12", "411P", "BGR3", "RGB3", "XR24", "AR24"),
    *("GREY", "Y10", "Y12", "Y16", "BA81", "GBRG", "S910"),
)


@dataclass(frozen=True)
class FrameSize:
    """A size that a camera has, or a range of them.

    Attributes:
        width_px, height_px: the size; of a range, the largest.
        fps: its frame rates, the fastest first; of a range of rates its two ends; none if the driver does not tell.
        from_px: smallest width and height of a range; None: it is one size.
    """

    width_px: int
    height_px: int
    fps: tuple[float, ...]
    from_px: tuple[int, int] | None = None


@dataclass(frozen=True)
class Device:
    """A capture device.

    Attributes:
        path: /dev/videoN.
        by_id: its stable link under /dev/v4l/by-id/, which survives replugging; None if it has none.
        by_path: its link under /dev/v4l/by-path/, which is that of its socket; None if it has none.
        card: the product's name.
        driver: kernel driver.
        bus: where it is plugged in.
        formats: pixel format -> sizes, of the formats that can be used.
        unusable: the other pixel formats.
        problem: why it could not be asked, or is of no use; "" if all is well.
    """

    path: str
    by_id: str | None
    by_path: str | None
    card: str
    driver: str
    bus: str
    formats: dict[str, tuple[FrameSize, ...]]
    unusable: tuple[str, ...] = ()
    problem: str = ""

    @property
    def source(self) -> str:
        """The name for the configuration that stays the camera's longest."""
        # Of two equal cameras without serial numbers only one has the link by id.
        return self.by_id or self.by_path or self.path


def list_devices(dev: Path = Path("/dev")) -> list[Device]:
    """All capture devices under `dev`, by number; metadata and output nodes are left out."""
    named = [node for node in dev.glob("video*") if re.fullmatch(r"video\d+", node.name)]
    nodes = sorted(named, key=lambda node: int(node.name.removeprefix("video")))
    by_id, by_path = (_links(dev / "v4l" / folder) for folder in ("by-id", "by-path"))
    found = (_describe(node, by_id.get(node.resolve()), by_path.get(node.resolve())) for node in nodes)
    return [device for device in found if device is not None]


def _links(folder: Path) -> dict[Path, str]:
    """Node -> its link in `folder`."""
    return {link.resolve(): str(link) for link in sorted(folder.glob("*"), reverse=True)}


def _describe(node: Path, by_id: str | None, by_path: str | None) -> Device | None:
    """Ask one node; None if it is no capture device."""

    def broken(problem: str) -> Device:
        return Device(str(node), by_id, by_path, "", "", "", {}, (), problem)

    try:
        # Non-blocking: some drivers wait in open() while another program holds the device.
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return broken(f"cannot be opened: {error.strerror}")
    try:
        answer = fcntl.ioctl(fd, VIDIOC_QUERYCAP, bytes(_CAPABILITY.size))
        driver, card, bus, _, capabilities, device_caps = _CAPABILITY.unpack(answer)
        # The node's own capabilities, where the driver tells them; else those of all its nodes together.
        caps = device_caps if capabilities & CAP_DEVICE_CAPS else capabilities
        if caps & CAP_VIDEO_CAPTURE:
            formats = dict(_formats(fd, BUF_TYPE_VIDEO_CAPTURE))
        elif caps & CAP_VIDEO_CAPTURE_MPLANE:
            formats = dict(_formats(fd, BUF_TYPE_VIDEO_CAPTURE_MPLANE))
        else:
            return None
    except OSError as error:
        return broken(f"is no V4L2 device: {error.strerror}")
    finally:
        os.close(fd)
    usable = {name: sizes for name, sizes in formats.items() if name in USABLE}
    unusable = tuple(name for name in formats if name not in USABLE)
    problem = "" if usable else _uselessness(unusable)
    return Device(str(node), by_id, by_path, _text(card), _text(driver), _text(bus), usable, unusable, problem)


def _uselessness(unusable: tuple[str, ...]) -> str:
    if unusable:
        return f"gives only {', '.join(unusable)}, which is no picture yet; see MIPI cameras in docs/cameras.md"
    return "has no picture format now; a v4l2loopback device has one when its bridge writes to it"


def _formats(fd: int, buffer_type: int) -> Iterator[tuple[str, tuple[FrameSize, ...]]]:
    for index in range(MOST_ENTRIES):
        try:
            answer = fcntl.ioctl(fd, VIDIOC_ENUM_FMT, _FORMAT.pack(index, buffer_type, 0, b"", 0))
        except OSError:  # EINVAL: no more
            return
        code = _FORMAT.unpack(answer)[4]
        yield code.to_bytes(4, "little").decode("ascii", "replace").strip(), tuple(_sizes(fd, code))


def _sizes(fd: int, code: int) -> Iterator[FrameSize]:
    for index in range(MOST_ENTRIES):
        try:
            answer = fcntl.ioctl(fd, VIDIOC_ENUM_FRAMESIZES, _FRAME_SIZE.pack(index, code, *[0] * 7))
        except OSError:  # EINVAL: no more; ENOTTY: the driver does not tell
            return
        _, _, kind, *numbers = _FRAME_SIZE.unpack(answer)
        if kind == FRAME_SIZE_DISCRETE:
            width_px, height_px = numbers[:2]
            yield FrameSize(width_px, height_px, _rates(fd, code, width_px, height_px))
        else:  # one range: min, max, step of the width, then of the height
            width_px, height_px = numbers[1], numbers[4]
            rates = _rates(fd, code, width_px, height_px)
            yield FrameSize(width_px, height_px, rates, from_px=(numbers[0], numbers[3]))
            return


def _rates(fd: int, code: int, width_px: int, height_px: int) -> tuple[float, ...]:
    """Frames per second at a size, the fastest first; of a range its two ends."""
    fractions: list[tuple[int, int]] = []
    for index in range(MOST_ENTRIES):
        try:
            answer = fcntl.ioctl(
                fd, VIDIOC_ENUM_FRAMEINTERVALS, _INTERVAL.pack(index, code, width_px, height_px, *[0] * 7)
            )
        except OSError:  # EINVAL: no more; ENOTTY: the driver does not tell
            break
        _, _, _, _, kind, *numbers = _INTERVAL.unpack(answer)
        fractions.append((numbers[0], numbers[1]))
        if kind != FRAME_INTERVAL_DISCRETE:  # one range: shortest, longest, step
            fractions.append((numbers[2], numbers[3]))
            break
    rates = {round(below / above, 2) for above, below in fractions if above}  # an interval in seconds is above / below
    return tuple(sorted(rates, reverse=True))


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
