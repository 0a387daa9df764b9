"""The emulated iGPU as tests see it: whether this process runs under it, and what it has counted."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from edge_app.model.device import core

LAYER = "libfakexe.so"
SETTLED_S = 3.0  # without a build: what the plugin began in the background has ended
SETTLE_LIMIT_S = 600.0


def why_not() -> str | None:
    """Return why tests of the GPU cannot run in this process, as a sentence, or None where they can."""
    if Path(os.environ.get("OPENCL_LAYERS", "")).name != LAYER:
        return "This process does not run under the emulated iGPU; run `./setup.sh gpu-test` (docs/igpu.md)."
    if "GPU" not in core().available_devices:
        return f"OpenVINO finds no GPU under the emulation, only {', '.join(core().available_devices)}."
    return None


def counters() -> dict[str, int]:
    """Return what the layer has counted in this process since its start; tests/gpu/layer/counters.c has the names."""
    layer = ctypes.CDLL(os.environ["OPENCL_LAYERS"])
    layer.fakexe_counter_names.restype = ctypes.c_char_p
    names = layer.fakexe_counter_names().decode("ascii").split()
    values = (ctypes.c_uint64 * len(names))()
    assert layer.fakexe_counters(values, len(names)) == len(names)
    return dict(zip(names, values, strict=True))


def settled() -> dict[str, int]:
    """Return the counters once nothing has been built for a while; AssertionError if building never ends."""
    found, since_s = counters(), time.monotonic()
    end_s = since_s + SETTLE_LIMIT_S
    while time.monotonic() - since_s < SETTLED_S:
        assert time.monotonic() < end_s, f"the plugin still builds after {SETTLE_LIMIT_S:g} s"
        time.sleep(0.1)
        now = counters()
        if (now["builds_source"], now["builds_binary"]) != (found["builds_source"], found["builds_binary"]):
            since_s = time.monotonic()
        found = now
    return found
