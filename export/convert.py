"""A role's torch module becomes an OpenVINO model with the names and shapes of the bundle contract."""

from __future__ import annotations

import logging
import warnings

import openvino as ov
import torch
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from export.families.blip import RoleSource


def to_openvino(source: RoleSource) -> ov.Model:
    """Trace and convert one role; inputs and outputs get the contract's tensor names."""
    examples = tuple(example for example, _ in source.inputs.values())
    shapes = [ov.PartialShape(list(shape)) for _, shape in source.inputs.values()]
    source.module.eval()
    logging.getLogger("nncf").setLevel(logging.WARNING)
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of each Python number it freezes; those are head counts and sizes, constant in a checkpoint.
        warnings.simplefilter("ignore", category=TracerWarning)
        # OpenVINO's converter reads TorchScript; it has no better way in for shapes that are free.
        warnings.filterwarnings("ignore", "`torch.jit.trace", DeprecationWarning)
        traced = torch.jit.trace(source.module, examples, check_trace=False)  # type: ignore[no-untyped-call]
        model = ov.convert_model(traced, example_input=examples, input=shapes)
    for port, name in zip(model.inputs, source.inputs, strict=True):
        port.get_tensor().set_names({name})
    for port, name in zip(model.outputs, source.outputs, strict=True):
        port.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()
    return model
