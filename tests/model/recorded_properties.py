"""The properties that the product hands to OpenVINO, and how OpenVINO's own definitions judge them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import BuiltinFunctionType
from typing import Any
from unittest.mock import patch

import numpy as np
import openvino as ov
import openvino.properties.device as of_devices
from openvino import opset13, properties
from openvino._pyopenvino import properties as defined  # what openvino.properties looks names up in

from edge_app.model.device import Compiler, core

MODULES = (defined, defined.hint, defined.device)
OF_THE_CORE = {properties.cache_dir(), of_devices.properties()}  # OpenVINO takes them itself, for every plugin


def recorded(device: str, folder: Path, *, is_compiled: bool, gpu_f32: bool = False) -> dict[str, Any]:
    """Return what a `Compiler` with all its arguments passes for `device`; compile with it where `is_compiled`."""
    passed: list[dict[str, Any]] = []

    class Recorder:
        def compile_model(self, model: ov.Model, device: str, chosen: dict[str, Any]) -> ov.CompiledModel | None:
            passed.append(chosen)
            return core().compile_model(model, device, chosen) if is_compiled else None

    with patch("edge_app.model.device.core", Recorder):
        Compiler(device, threads=1, cache_dir=folder).compile_model(small_graph(), gpu_f32=gpu_f32)
    return passed[0]


def small_graph() -> ov.Model:
    """Return a product of matrices with a free number of rows."""
    rows = opset13.parameter([-1, 16], np.float32, name="rows")
    return ov.Model([opset13.matmul(rows, np.eye(16, dtype=np.float32), False, False)], [rows], "small")


def by_device(device: str, passed: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (device, name, value); what is for a part of a device made of others stands under that part's name."""
    for name, value in passed.items():
        if name == of_devices.properties():
            for part, chosen in value.items():
                yield from by_device(part, chosen)
        yield device, name, value


def is_defined_so(name: str, value: object) -> bool:
    """Return whether OpenVINO's definition of the property takes a value of this type.

    Plugins are less exact than the definitions: the CPU's takes an int for NUM_STREAMS, the GPU's refuses it.
    """
    definition = definitions()[name]
    try:
        definition(value)
    except TypeError:
        return False
    return True


def definitions() -> dict[str, Any]:
    """Return OpenVINO's definitions by the names of the properties: a function that takes the value, or nothing."""
    found = {}
    for value in (value for module in MODULES for value in vars(module).values()):
        if isinstance(value, BuiltinFunctionType):
            with suppress(TypeError):  # one that does not tell its name; the product uses none of these
                found[value()] = value
    return found
