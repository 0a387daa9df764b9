"""`edge-app cameras`: the V4L2 cameras of this machine, what they can, and the lines for the configuration."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence

from edge_app.camera.devices import Device, FrameSize, list_devices
from edge_app.shown import shown

NONE_FOUND = (
    "No V4L2 camera is connected: there is no capture device at /dev/video*. Plug one in and look again. A camera of "
    'the network needs no device (source = "rtsp://..."), a drawn one neither (source = "scene:"); a MIPI camera needs '
    "a v4l2loopback bridge first."
)
# What is proposed: models see some 400 pixels, so that more is for the display only, and costs.
WANTED_WIDTH_PX, WANTED_HEIGHT_PX, WANTED_FPS = 1280, 720, 15
WANTED_FORMAT = "MJPG"  # the camera is asked for it first, whatever else it has


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app cameras`."""
    parser.add_argument("--json", action="store_true", help="one JSON object a camera on stdout, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Print every camera; 0, also when there is none: that is an answer, not a failure."""
    devices = list_devices()
    names = config_names(devices)
    if arguments.json:
        for device, name in zip(devices, names, strict=True):
            print(json.dumps({**dataclasses.asdict(device), "config": proposal(device, name)}))
    else:
        print("\n\n".join(map(describe, devices, names)) or NONE_FOUND)
    return 0


def config_names(devices: Sequence[Device]) -> list[str]:
    """A name a device for topics, from that of the product: `HD Webcam` is `hd-webcam`, the second `hd-webcam-2`.

    One that is of no use gets none, "".
    """
    names: list[str] = []
    for device in devices:
        if device.problem:
            names.append("")
            continue
        plain = re.sub(r"[^a-z0-9]+", "-", device.card.partition(":")[0].lower()).strip("-")[:32] or "camera"
        number = 1
        while (name := plain if number == 1 else f"{plain}-{number}") in names:
            number += 1
        names.append(name)
    return names


def proposal(device: Device, name: str) -> dict[str, str | int] | None:
    """The keys of a `[[camera]]` table for a device; None if it is of no use."""
    if device.problem:
        return None
    table: dict[str, str | int] = {"name": name, "source": device.source}
    sizes = device.formats.get(WANTED_FORMAT) or next(iter(device.formats.values()))
    if not sizes:
        return table
    size = _nearest(sizes)
    width_px, height_px = size.width_px, size.height_px
    if size.from_px is not None:
        width_px = max(size.from_px[0], min(width_px, WANTED_WIDTH_PX))
        height_px = max(size.from_px[1], min(height_px, WANTED_HEIGHT_PX))
    # Of a camera that is faster than it is asked to be, only as many frames are used: 15 is right for one of 30.
    fps = max(1, int(min([WANTED_FPS, *size.fps[:1]])))
    return {**table, "width_px": width_px, "height_px": height_px, "fps": fps}


def _nearest(sizes: Sequence[FrameSize]) -> FrameSize:
    """The largest size that is not above the wanted one, or else the smallest."""
    small = [size for size in sizes if size.width_px <= WANTED_WIDTH_PX and size.height_px <= WANTED_HEIGHT_PX]
    ranges = [size for size in sizes if size.from_px is not None]
    if ranges:
        return ranges[0]
    return max(small, key=_area) if small else min(sizes, key=_area)


def _area(size: FrameSize) -> int:
    return size.width_px * size.height_px


def describe(device: Device, name: str) -> str:
    """A device for a person: what it is, what it can, how to write it into the configuration."""
    # A device says of itself what its maker, or whoever plugs it in, has put there.
    what = shown(f"{device.card} ({device.driver}, {device.bus})") if device.driver else ""
    if device.problem:
        mend = "" if device.driver else "; if rights are missing: sudo usermod -aG video $USER"
        return f"{device.path}  {what}{'  ' if what else ''}{shown(device.problem)}{mend}"
    lines = [f"{device.path}  {what}"]
    for pixel_format, sizes in device.formats.items():
        lines.append(f"  {pixel_format:<5} {', '.join(map(_size, sizes)) or 'sizes unknown'}")
    if device.unusable:
        lines.append(f"  not usable: {shown(', '.join(device.unusable))}")
    table = proposal(device, name) or {}
    lines += ["  [[camera]]", *(f"  {key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines)


def _size(size: FrameSize) -> str:
    begin = f"{size.from_px[0]}x{size.from_px[1]} to " if size.from_px else ""
    rates = f" ({'/'.join(f'{rate:g}' for rate in size.fps)} fps)" if size.fps else ""
    return f"{begin}{size.width_px}x{size.height_px}{rates}"
