"""A small graph on the GPU, for real: `python -m edge_app.checks.gpu_trial DEVICE`, a JSON object a line.

A process of its own, since a driver can hang or crash. Each line is written when it is known, so that whoever waits in
vain can tell how far it came: {"stage": "compile"}, {"stage": "compute"}, and at the end what was found.

The graph is two products of matrices, a Swish after the first and a softmax at the end: few kernels, as no driver is to
compile for long. With the softmax between the products it would be attention, of which OpenVINO builds many variants.
The number of rows is free, as in the model's text side; such graphs OpenVINO 2025.4 computed wrongly on some GPUs.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13

WIDTH = 64
ROWS = (1, 3, 16)  # each number another shape
INTEL = 0x8086
CL_DEVICE_TYPE_GPU, CL_DEVICE_VENDOR_ID, CL_DRIVER_VERSION = 1 << 2, 0x1001, 0x102D  # <CL/cl.h>

Floats = NDArray[np.float32]


def main() -> None:
    """Try the device that the command line names; 0 also where it computes wrongly, which the last line tells."""
    device = sys.argv[1]
    _tell(openvino=ov.get_version(), driver=driver_version())
    try:
        _tell(difference=difference_on(device))
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith(("Exception from", "Check "))]
        _tell(error=(told or lines or ["no reason"])[0].rstrip(".!")[:300])
    os._exit(0)  # an ordinary end waits for what the plugin still compiles in the background


def _tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def difference_on(device: str) -> float | None:
    """How far results are from NumPy's at most, in standard deviations of these; None where one is not a number.

    RuntimeError: the device fails.
    """
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) * 0.2 for _ in range(2))
    _tell(stage="compile")
    compiled = ov.Core().compile_model(graph(first, second), device)
    _tell(stage="compute")
    worst = 0.0
    for count in ROWS:
        rows = rng.normal(size=(count, WIDTH)).astype(np.float32)
        found, right = compiled([rows])[0], by_numpy(rows, first, second)
        if not np.isfinite(found).all():
            return None
        worst = max(worst, float(np.abs(found - right).max() / right.std()))
    return worst


def graph(first: Floats, second: Floats) -> ov.Model:
    """The graph as OpenVINO takes it: rows [-1, width] to [-1, width]."""
    rows = opset13.parameter([-1, WIDTH], np.float32, name="rows")
    inner = opset13.swish(opset13.matmul(rows, first, False, False))
    return ov.Model([opset13.softmax(opset13.matmul(inner, second, False, False), -1)], [rows], "trial")


def by_numpy(rows: Floats, first: Floats, second: Floats) -> Floats:
    """The same by NumPy."""
    inner = rows @ first
    logits = inner / (1 + np.exp(-inner)) @ second
    shares: Floats = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return shares


def driver_version() -> str | None:
    """The version of the OpenCL driver of the first GPU of Intel's; OpenVINO does not tell it. None if it has none."""
    try:
        cl = ctypes.CDLL("libOpenCL.so.1")
    except OSError:
        return None
    platforms, devices, count = (ctypes.c_void_p * 16)(), (ctypes.c_void_p * 16)(), ctypes.c_uint32()
    if cl.clGetPlatformIDs(len(platforms), platforms, ctypes.byref(count)):
        return None
    for platform in platforms[: count.value]:
        kind, handle = ctypes.c_uint64(CL_DEVICE_TYPE_GPU), ctypes.c_void_p(platform)
        if cl.clGetDeviceIDs(handle, kind, len(devices), devices, ctypes.byref(count)):
            continue
        for device in devices[: count.value]:
            vendor, text = ctypes.c_uint32(), ctypes.create_string_buffer(256)
            asked = ctypes.c_void_p(device)
            cl.clGetDeviceInfo(asked, CL_DEVICE_VENDOR_ID, ctypes.c_size_t(4), ctypes.byref(vendor), None)
            if vendor.value == INTEL:
                cl.clGetDeviceInfo(asked, CL_DRIVER_VERSION, ctypes.c_size_t(len(text)), text, None)
                return text.value.decode("ascii", "replace") or None
    return None


if __name__ == "__main__":
    main()
