"""Inference devices and bundles. What can hang or crash in a driver runs in a process of its own, with a deadline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import edge_app
from edge_app.checks import Check
from edge_app.checks.account import Account, own_account
from edge_app.checks.gpu import check_missing_gpu
from edge_app.checks.gpu_compute import check_computing, try_gpu
from edge_app.checks.machine import is_installed
from edge_app.settings import ModelConfig
from edge_app.trial_load import RefusedError, TrialError, load_once

DEVICES_TIMEOUT_S = 60

_LIST_DEVICES = """
import json, openvino
core = openvino.Core()
print(json.dumps({name: core.get_property(name, "FULL_DEVICE_NAME") for name in core.available_devices}))
"""

_PIP_AGAIN = "Run: pip install --force-reinstall openvino"
_AGAIN = (  # a version that is there already would be left as it is
    "Run in the folder of the kit: sudo sh systemd/install.sh --uninstall; sudo sh systemd/install.sh. Configuration "
    "and state stay."
)
_MOVE = (
    "Run: sudo edge-app bundle install BUNDLE, which puts it where the service may read it, and name the link it tells "
    "in model.bundles."
)


def check_inference(config: ModelConfig | None, account: Account, *, load: bool = True) -> Iterator[Check]:
    """Devices; with a configuration also its bundles, loaded as the service loads them, unless `load` is False."""
    gpu_is_wanted = config is not None and "GPU" in (config.device, config.text_device)
    devices = list_devices(account)
    yield _check_devices(devices)
    if any(name.startswith("GPU") for name in devices):
        yield check_computing(try_gpu("GPU", rights_of(account)), is_wanted=gpu_is_wanted)
    else:
        yield check_missing_gpu(is_wanted=gpu_is_wanted, account=account)
    if config is not None and load:
        yield check_model(config, account)


def list_devices(account: Account) -> dict[str, str]:
    """What OpenVINO finds with the rights of `account`, name to description; empty if it cannot be asked."""
    command, rights = [sys.executable, "-c", _LIST_DEVICES], rights_of(account)
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=DEVICES_TIMEOUT_S, check=True, **rights)
        devices: dict[str, str] = json.loads(found.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    return devices


def rights_of(account: Account) -> dict[str, Any]:
    """Those of `account` for a child process; ours where it may not read this program, of a developer, say."""
    program = Path(sys.executable), Path(edge_app.__file__)
    return account.rights if all(account.may(path, os.R_OK) for path in program) else {}


def _check_devices(devices: dict[str, str]) -> Check:
    if not devices:
        return Check("openvino devices", "fail", "OpenVINO does not start.", _AGAIN if is_installed() else _PIP_AGAIN)
    return Check("openvino devices", "ok", ", ".join(f"{name} ({words})" for name, words in devices.items()))


def check_model(config: ModelConfig, account: Account) -> Check:
    """Verify the bundles and run their golden sample, in the very process and as the very user of the service.

    The service's cache of compiled models stays as it is where somebody else asks.
    """
    rights = rights_of(account)
    eyes = account.eyes if rights else own_account().eyes
    hello = config.hello()
    if not account.is_own:
        hello["cache_dir"] = None
    try:
        info = load_once(hello, step_s=config.start_timeout_s, rights=rights, settle=False).info
    except TrialError as error:
        mend = 'Try model.device = "CPU"; allow more with model.start_timeout_s.'
        return Check("model", "fail", f"The model's process {error}, tried as {eyes}.", mend)
    except RefusedError as error:
        reason = str(error)
        mend = _MOVE if "Permission denied" in reason else "Export or install the bundle again; see docs/bundle.md."
        return Check("model", "fail", f"{reason} (Tried as {eyes}.)", mend)
    names = ", ".join(f"{bundle['name']} ({bundle['signed_by']})" for bundle in info["bundles"])
    found = f"{names}: golden sample right on {info['device']}, tried as {eyes}"
    if not rights and not account.is_own:
        return Check(
            "model",
            "warn",
            f"{found}, since {account.name} may not run {sys.executable}: whether it may read the bundles is unknown.",
            "Run the doctor of the service's own installation: sudo /opt/edge-app/current/bin/edge-app doctor",
        )
    if info["fallbacks"]:
        return Check("model", "warn", f"{found}. {' '.join(info['fallbacks'])}", "See the gpu check.")
    return Check("model", "ok", found)
