"""Inference devices and bundles. What can hang or crash in a driver runs in a process of its own, with a deadline."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from edge_app.checks import Check
from edge_app.checks.account import Account
from edge_app.checks.children import first_event
from edge_app.checks.gpu import check_gpu
from edge_app.child import Child
from edge_app.settings import ModelConfig

DEVICES_TIMEOUT_S = 60
MODEL_MODULE = "edge_app.model.worker"

_LIST_DEVICES = """
import json, openvino
core = openvino.Core()
print(json.dumps({name: core.get_property(name, "FULL_DEVICE_NAME") for name in core.available_devices}))
"""


def check_inference(config: ModelConfig | None, account: Account) -> Iterator[Check]:
    """Devices; with a configuration also its bundles, loaded as the service loads them."""
    gpu_is_wanted = config is not None and "GPU" in (config.device, config.text_device)
    devices = list_devices()
    yield _check_devices(devices)
    yield check_gpu(has_gpu=any(name.startswith("GPU") for name in devices), is_wanted=gpu_is_wanted, account=account)
    if config is not None:
        yield check_model(config, keeps_cache=account.is_own)


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


def check_model(config: ModelConfig, *, keeps_cache: bool = True) -> Check:
    """Verify the bundles and run their golden sample, in the very process that the service would start.

    Without `keeps_cache` the cache of compiled models is left alone: the service could not read what root writes there.
    """
    hello = {**config.hello(), "frames": {}, "log_level": "ERROR"}
    if not keeps_cache:
        hello["cache_dir"] = None
    child = Child("model", MODEL_MODULE, hello=hello)
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
