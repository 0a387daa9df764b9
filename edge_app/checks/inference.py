"""Inference devices and bundles. What can hang or crash in a driver runs in a process of its own, with a deadline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_app.checks import Check, Status
from edge_app.child import Child
from edge_app.settings import ModelConfig

RENDER_NODES = Path("/dev/dri")
DEVICES_TIMEOUT_S = 60
MODEL_MODULE = "edge_app.model.worker"

_LIST_DEVICES = """
import json, openvino
core = openvino.Core()
print(json.dumps({name: core.get_property(name, "FULL_DEVICE_NAME") for name in core.available_devices}))
"""


def check_inference(config: ModelConfig | None) -> Iterator[Check]:
    """Devices; with a configuration also its bundles, loaded as the service loads them."""
    gpu_is_wanted = config is not None and "GPU" in (config.device, config.text_device)
    devices = list_devices()
    yield _check_devices(devices)
    yield check_gpu(has_gpu=any(name.startswith("GPU") for name in devices), is_wanted=gpu_is_wanted)
    if config is not None:
        yield check_model(config)


def list_devices() -> dict[str, str]:
    """What OpenVINO finds, name to description; empty if it cannot be asked."""
    command = [sys.executable, "-c", _LIST_DEVICES]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=DEVICES_TIMEOUT_S, check=True)
        devices: dict[str, str] = json.loads(found.stdout)
    except (subprocess.SubprocessError, ValueError):
        return {}
    return devices


def _check_devices(devices: dict[str, str]) -> Check:
    if not devices:
        return Check(
            "openvino devices", "fail", "OpenVINO does not start.", "Run: pip install --force-reinstall openvino"
        )
    return Check("openvino devices", "ok", ", ".join(f"{name} ({words})" for name, words in devices.items()))


def check_gpu(*, has_gpu: bool, is_wanted: bool, nodes: Path = RENDER_NODES) -> Check:
    """The way to the GPU: kernel driver, rights, compute packages; the first thing that is missing."""
    missing: Status = "fail" if is_wanted else "warn"
    if has_gpu:
        return Check("gpu", "ok", "OpenVINO can use it.")
    render_nodes = sorted(nodes.glob("renderD*"))
    if not render_nodes:
        return Check(
            "gpu",
            missing,
            f"There is no {nodes}/renderD128: no GPU, or no driver for it. Captions work on the CPU, more slowly.",
            "On a board with an Intel GPU look for i915 or xe in `dmesg`; a virtual machine has to be given the GPU.",
        )
    closed = [node for node in render_nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        return Check(
            "gpu",
            missing,
            f"This user may not open {closed[0]} (group {_group(closed[0])}).",
            f"Run: sudo usermod -aG {_group(closed[0])} $USER, then log in again.",
        )
    return Check(
        "gpu",
        missing,
        f"There is {render_nodes[0]}, but OpenVINO finds no GPU: the compute packages are missing or do not fit.",
        "Install intel-opencl-icd (for Apollo Lake and Elkhart Lake Intel's older `legacy1` packages).",
    )


def _group(path: Path) -> str:
    try:
        return path.group()
    except KeyError:  # a number without a name, as in a container
        return str(path.stat().st_gid)


def check_model(config: ModelConfig) -> Check:
    """Verify the bundles and run their golden sample, in the very process that the service would start."""
    child = Child("model", MODEL_MODULE, hello={**config.hello(), "frames": {}, "log_level": "ERROR"})
    child.start()
    try:
        event = first_event(child, {"ready", "failed"}, config.start_timeout_s)
        end = child.exit_reason
    finally:
        child.stop(2.0)
    if event is None:
        return Check(
            "model",
            "fail",
            f"The model's process {end or f'was not ready within {config.start_timeout_s:g} s'}.",
            'Try model.device = "CPU"; allow more with model.start_timeout_s.',
        )
    if event["event"] == "failed":
        return Check("model", "fail", event["reason"], "Export or install the bundle again; see docs/bundle.md.")
    info = event["info"]
    names = ", ".join(f"{bundle['name']} ({bundle['signed_by']})" for bundle in info["bundles"])
    found = f"{names}: golden sample right on {info['device']}"
    if info["fallbacks"]:
        return Check("model", "warn", f"{found}. {' '.join(info['fallbacks'])}", "See the gpu check.")
    return Check("model", "ok", found)


def first_event(child: Child, wanted: set[str], timeout_s: float) -> dict[str, Any] | None:
    """The first of the child's events that is `wanted`; None if it ends or the time passes without one."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        is_alive = child.is_alive()  # asked first: what it sent before its end is still to be read
        for event in child.poll():
            if event["event"] in wanted:
                return event
        if not is_alive:
            return None
        time.sleep(0.05)
    return None
