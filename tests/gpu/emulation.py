"""The emulated iGPU as tests see it: whether this process runs under it, and what it has counted."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

from edge_app.model.device import core

LAYER = "libfakexe.so"
SETTLE_S = 3.0  # without a build and without work: what the plugin has begun in the background has ended
IDLE_CPU_S = 0.1  # that this process takes meanwhile, at most; a build takes all it gets, on a busy machine, too
SETTLE_LIMIT_S = 900.0


def why_not() -> str | None:
    """Return why tests of the GPU cannot run in this process, as a sentence, or None where they can."""
    if Path(os.environ.get("OPENCL_LAYERS", "")).name != LAYER:
        return "This process does not run under the emulated iGPU; run `./setup.sh gpu-test` (docs/igpu.md)."
    if "GPU" not in core().available_devices:
        return f"OpenVINO finds no GPU under the emulation, only {', '.join(core().available_devices)}."
    return None


def counters() -> dict[str, int]:
    """Return what the layer has counted in this process since its start; nothing on a machine without it.

    tests/gpu/layer/counters.c has the names.
    """
    path = os.environ.get("OPENCL_LAYERS")
    if path is None:
        return {}
    layer = ctypes.CDLL(path)
    layer.fakexe_counter_names.restype = ctypes.c_char_p
    names = layer.fakexe_counter_names().decode("ascii").split()
    values = (ctypes.c_uint64 * len(names))()
    assert layer.fakexe_counters(values, len(names)) == len(names)
    return dict(zip(names, values, strict=True))


def settled() -> dict[str, int]:
    """Return the counters once nothing is built any more; TimeoutError if building never ends."""
    now = counters()
    if not now:
        return now
    deadline_s = time.monotonic() + SETTLE_LIMIT_S
    while time.monotonic() < deadline_s:
        before, spent_s = now, time.process_time()
        time.sleep(SETTLE_S)
        now = counters()
        built = sum(now[name] - before[name] for name in ("builds_source", "builds_binary"))
        if built == 0 and time.process_time() - spent_s < IDLE_CPU_S:
            return now
    raise TimeoutError(f"The device was still building after {SETTLE_LIMIT_S:g} s.")
