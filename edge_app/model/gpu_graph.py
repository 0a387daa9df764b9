"""Rewrite a graph before a GPU compiles it, so that a token takes fewer kernels. The bundle's file stays as it is.

Each kernel costs the host some microseconds, and a token of BLIP-base was 359 of them. What is not needed:

- Keys, values and masks come in FP16, token ids in 32 bits, as the GPU computes: else each input is converted anew at
  every token, and each new key and value on its way out. All graphs of a model then pass them on in FP16.
- The scores are divided by the root of the head size after the mask is added, not before: both then are part of the
  matrix product's kernel. The other way round the plugin moves the division to the keys, and multiplies all of them
  at every token. (In the weights of the query it would cost no kernel either, but their scales in 8 bits, 3e-4, would
  leave what FP16 holds with all digits.)
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from openvino.preprocess import PrePostProcessor

_HALVES = ("memory.", "past.", "present.", "image.")  # of the contract's names: keys and values
GREATEST_ROOT = 32.0  # of a head of 1,024 numbers: -1e4 / 32 still is no share, exp(-312) being 0 in FP32


def with_halves(model: ov.Model) -> ov.Model:
    """The model with keys, values and masks in FP16 and token ids in 32 bits; its logits and states as they were."""
    changed = PrePostProcessor(model)
    for port in model.inputs:
        name = port.get_any_name()
        if port.get_element_type() == ov.Type.i64:
            changed.input(name).tensor().set_element_type(ov.Type.i32)
        elif name.startswith(_HALVES) or name.endswith("_mask"):
            changed.input(name).tensor().set_element_type(ov.Type.f16)
    for port in model.outputs:
        if port.get_any_name().startswith(_HALVES):
            changed.output(port.get_any_name()).tensor().set_element_type(ov.Type.f16)
    return changed.build()


def scale_after_mask(model: ov.Model) -> int:
    """Rewrite softmax(scores / root + mask) as softmax((scores + mask) / root), in place; how many were rewritten.

    By the contract a mask is 0 or -1e4. Divided by the root of a head size that is still far below any score, so that
    what is masked keeps a share of 0.
    """
    rewritten = 0
    for softmax in model.get_ordered_ops():
        if softmax.get_type_name() != "Softmax":
            continue
        masked = softmax.input_value(0).get_node()
        if masked.get_type_name() != "Add" or not _is_used_once(masked):
            continue
        scaled = masked.input_value(0).get_node()
        if scaled.get_type_name() != "Divide" or not _is_used_once(scaled) or not _is_root(scaled.input_value(1)):
            continue
        scores, root, mask = scaled.input_value(0), scaled.input_value(1), masked.input_value(1)
        quotient = ops.divide(ops.add(scores, mask), root)
        softmax.input(0).replace_source_output(quotient.output(0))
        rewritten += 1
    model.validate_nodes_and_infer_types()
    return rewritten


def _is_used_once(node: ov.Node) -> bool:
    return len(node.output(0).get_target_inputs()) == 1


def _is_root(output: ov.Output) -> bool:
    """Whether it is one constant number, perhaps converted on the way, and such as a head size has."""
    node = output.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return False
    values = np.array(node.data, np.float32)
    return values.size == 1 and 1 <= float(values.reshape(-1)[0]) <= GREATEST_ROOT
