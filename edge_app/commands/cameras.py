"""`edge-app cameras`: the V4L2 cameras of this machine, their formats, and the line for the configuration."""

from __future__ import annotations

import argparse
import dataclasses
import json

from edge_app.camera.devices import Device, list_devices

NONE_FOUND = (
    "No V4L2 camera is connected: there is no capture device at /dev/video*. Plug one in and look again. A camera of "
    'the network needs no device (source = "rtsp://..."), a drawn one neither (source = "scene:"); a MIPI camera needs '
    "a v4l2loopback bridge first."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app cameras`."""
    parser.add_argument("--json", action="store_true", help="one JSON object a camera on stdout, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Print every camera; 0, also when there is none: that is an answer, not a failure."""
    devices = list_devices()
    if arguments.json:
        for device in devices:
            print(json.dumps(dataclasses.asdict(device)))
    else:
        print("\n\n".join(map(describe, devices)) or NONE_FOUND)
    return 0


def describe(device: Device) -> str:
    """A device for a person: what it is, what it can, how to name it in the configuration."""
    if device.problem:
        return f"{device.path}  {device.problem}; if rights are missing: sudo usermod -aG video $USER"
    lines = [f"{device.path}  {device.card} ({device.driver}, {device.bus})"]
    lines += [f"  {name:<5} {', '.join(sizes) or 'sizes unknown'}" for name, sizes in device.formats.items()]
    # The link by id stays the camera's when numbers change.
    return "\n".join([*lines, f'  source = "{device.by_id or device.path}"'])
