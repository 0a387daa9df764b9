"""Embedding tables in 8 bits that stay in 8 bits when OpenVINO compiles the graph."""

from __future__ import annotations

import openvino as ov
from openvino import opset13 as ops

# From the lookup back to its table, as `nncf.compress_weights` writes it.
_WIDENED = ["Convert", "Multiply", "Subtract", "Convert", "Constant"]


def look_up_then_widen(model: ov.Model) -> int:
    """Turn every "widen the table, look rows up in it" into "look rows up, widen them"; how many there were.

    In a graph with quantised activations, that of the question encoder, OpenVINO's CPU plugin computes the widened
    table when it compiles: an FP32 copy of BERT's 30,524 words x 768 is 94 MB. The numbers are the same either way.
    """
    tables = 0
    for lookup in [node for node in model.get_ordered_ops() if node.get_type_name() == "Gather"]:
        chain = [_first_input(lookup)]
        while chain[-1].get_type_name() in ("Convert", "Multiply", "Subtract"):
            chain.append(_first_input(chain[-1]))
        if [node.get_type_name() for node in chain] != _WIDENED:
            continue
        _, scaled, shifted, _, table = chain
        rows, axis = (lookup.input(port).get_source_output() for port in (1, 2))
        zero_point, scale = (node.input(1).get_source_output().get_node() for node in (shifted, scaled))
        if zero_point.get_type_name() == "Convert":  # kept as integers, as the table is
            zero_point = _first_input(zero_point)
        numbers, zeros, scales = (
            ops.convert(ops.gather(source, rows, axis), "f32") for source in (table, zero_point, scale)
        )
        lookup.output(0).replace(ops.multiply(ops.subtract(numbers, zeros), scales).output(0))
        tables += 1
    return tables


def _first_input(node: ov.Node) -> ov.Node:
    return node.input(0).get_source_output().get_node()
