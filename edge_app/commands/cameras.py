"""`edge-app cameras`: the cameras of this machine, and how to name them in the configuration."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from edge_app.camera.devices import Device, list_devices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `edge-app cameras`."""
    parser.add_argument("--json", action="store_true", help="one JSON object a camera on stdout, and nothing else")


def run(arguments: argparse.Namespace) -> int:
    """Print the cameras; 0 if there is one, 1 if there is none."""
    devices = list_devices()
    for device in devices:
        print(json.dumps(asdict(device)) if arguments.json else _describe(device))
    if not devices and not arguments.json:
        print("No V4L2 camera was found: plug one in, or use a stream (rtsp://, http://) or file: as source.")
    return 0 if devices else 1


def _describe(device: Device) -> str:
    lines = [f"{device.card or device.path} ({device.driver or 'unknown driver'}, {device.bus or 'unknown bus'})"]
    lines.append(f'  source = "{device.by_id or device.path}"')
    if device.problem:
        lines.append(f"  {device.path} {device.problem}; is this user in the group `video`?")
    lines += [f"  {name}: {', '.join(sizes) or 'sizes not told'}" for name, sizes in device.formats.items()]
    return "\n".join(lines)
