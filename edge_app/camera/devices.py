"""What V4L2 devices this machine has: name, driver, and the formats that can be captured.

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

_READ, _WRITE = 2, 1


def _request(direction: int, number: int, layout: struct.Struct) -> int:
    """The ioctl number: direction, size of the argument, type 'V', number (asm-generic/ioctl.h)."""
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


VIDIOC_QUERYCAP = _request(_READ, 0, _CAPABILITY)
VIDIOC_ENUM_FMT = _request(_READ | _WRITE, 2, _FORMAT)
VIDIOC_ENUM_FRAMESIZES = _request(_READ | _WRITE, 74, _FRAME_SIZE)

CAP_VIDEO_CAPTURE, CAP_VIDEO_CAPTURE_MPLANE, CAP_DEVICE_CAPS = 0x1, 0x1000, 0x8000_0000
BUF_TYPE_VIDEO_CAPTURE, BUF_TYPE_VIDEO_CAPTURE_MPLANE = 1, 9
FRAME_SIZE_DISCRETE = 1
MOST_ENTRIES = 64  # a driver that counts wrongly must not keep us


@dataclass(frozen=True)
class Device:
    """A capture device.

    Attributes:
        path: /dev/videoN.
        by_id: its stable link under /dev/v4l/by-id/, which survives replugging; None if it has none.
        card: the product's name.
        driver: kernel driver.
        bus: where it is plugged in.
        formats: pixel format -> sizes "WIDTHxHEIGHT".
        problem: why it could not be asked; "" if it could.
    """

    path: str
    by_id: str | None
    card: str
    driver: str
    bus: str
    formats: dict[str, list[str]]
    problem: str = ""


def list_devices(dev: Path = Path("/dev")) -> list[Device]:
    """All capture devices under `dev`, by number; metadata and output nodes are left out."""
    named = [node for node in dev.glob("video*") if re.fullmatch(r"video\d+", node.name)]
    nodes = sorted(named, key=lambda node: int(node.name.removeprefix("video")))
    links = {link.resolve(): str(link) for link in sorted((dev / "v4l" / "by-id").glob("*"))}
    found = (_describe(node, links.get(node.resolve())) for node in nodes)
    return [device for device in found if device is not None]


def _describe(node: Path, by_id: str | None) -> Device | None:
    """Ask one node; None if it is no capture device."""
    try:
        # Non-blocking: some drivers wait in open() while another program holds the device.
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return Device(str(node), by_id, "", "", "", {}, f"cannot be opened: {error.strerror}")
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
        return Device(str(node), by_id, "", "", "", {}, f"is no V4L2 device: {error.strerror}")
    finally:
        os.close(fd)
    return Device(str(node), by_id, _text(card), _text(driver), _text(bus), formats)


def _formats(fd: int, buffer_type: int) -> Iterator[tuple[str, list[str]]]:
    for index in range(MOST_ENTRIES):
        try:
            answer = fcntl.ioctl(fd, VIDIOC_ENUM_FMT, _FORMAT.pack(index, buffer_type, 0, b"", 0))
        except OSError:  # EINVAL: no more
            return
        code = _FORMAT.unpack(answer)[4]
        yield code.to_bytes(4, "little").decode("ascii", "replace").strip(), list(_sizes(fd, code))


def _sizes(fd: int, code: int) -> Iterator[str]:
    for index in range(MOST_ENTRIES):
        try:
            answer = fcntl.ioctl(fd, VIDIOC_ENUM_FRAMESIZES, _FRAME_SIZE.pack(index, code, *[0] * 7))
        except OSError:  # EINVAL: no more; ENOTTY: the driver does not tell
            return
        _, _, kind, *numbers = _FRAME_SIZE.unpack(answer)
        if kind == FRAME_SIZE_DISCRETE:
            yield f"{numbers[0]}x{numbers[1]}"
        else:  # one range: min, max, step of the width, then of the height
            yield f"{numbers[0]}x{numbers[3]} to {numbers[1]}x{numbers[4]}"
            return


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
