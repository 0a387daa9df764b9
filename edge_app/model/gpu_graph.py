"""Rewrite a graph before a GPU compiles it, so that a token takes fewer kernels. The bundle's file stays as it is.

Each kernel costs the host some microseconds, and a token of BLIP-base was 359 of them. What is not needed:

- Keys, values and masks come in FP16, token ids in 32 bits, as the GPU computes: else each input is converted anew at
  every token, and each new key and value on its way out. All graphs of a model then pass them on in FP16.
- The scores' division by the root of the head size goes into the weights and the bias of the query. The plugin moves
  it to the keys, and multiplies all of them at every token.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from openvino.preprocess import PrePostProcessor

_HALVES = ("memory.", "past.", "present.", "image.")  # of the contract's names: keys and values
_PASSED_ON = {"Convert", "Reshape"}
_SHAPING = {"Reshape", "Transpose"}


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


def fold_scales(model: ov.Model) -> int:
    """Move each attention's scale into its query's weights and bias, in place; how many were moved.

    An attention of another form than query @ keys / root + mask stays as it is.
    """
    moved = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Softmax" and _fold(node):
            moved += 1
    model.validate_nodes_and_infer_types()
    return moved


def _fold(softmax: ov.Node) -> bool:
    masked = _source(softmax, 0)
    scaled = _source(masked, 0)
    if masked.get_type_name() != "Add" or scaled.get_type_name() != "Divide":
        return False
    root, scores = _constant(scaled, 1), _source(scaled, 0)
    query = _query(scores)
    if root is None or root.size != 1 or query is None or (weights := _weights(_source(query, 0))) is None:
        return False
    for owner, index in ((query, 1), weights):
        _divide(owner, index, float(root.reshape(-1)[0]))
    for port in scaled.output(0).get_target_inputs():
        port.replace_source_output(scores.output(0))
    return True


def _query(scores: ov.Node) -> ov.Node | None:
    """The addition of a bias that gives an attention's query, and nothing but it; None if there is no such."""
    chain = [scores, _source(scores, 0)]
    while chain[-1].get_type_name() in _SHAPING:
        chain.append(_source(chain[-1], 0))
    query, product = chain[-1], _source(chain[-1], 0)
    kinds = [node.get_type_name() for node in (scores, query, product)]
    alone = all(map(_is_used_once, [*chain, product]))
    return query if kinds == ["MatMul", "Add", "MatMul"] and alone and _constant(query, 1) is not None else None


def _weights(product: ov.Node) -> tuple[ov.Node, int] | None:
    """The operation and the number of its input that holds a product's weights or, in 8 or 4 bits, their scales."""
    owner, index = product, 1
    while True:
        node = _source(owner, index)
        if node.get_type_name() == "Constant":
            return owner, index
        if node.get_type_name() == "Multiply" and _constant(node, 1) is not None:
            return node, 1
        if node.get_type_name() not in _PASSED_ON or not _is_used_once(node):
            return None
        owner, index = node, 0


def _source(node: ov.Node, index: int) -> ov.Node:
    """Where an input comes from; a node without any is its own source, so that a search ends there."""
    if index >= node.get_input_size():
        return node
    return node.input(index).get_source_output().get_node()


def _is_used_once(node: ov.Node) -> bool:
    return len(node.output(0).get_target_inputs()) == 1


def _constant(node: ov.Node, index: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
    """An input of floating point that is constant, perhaps converted on the way."""
    source = _source(node, index)
    while source.get_type_name() == "Convert":
        source = _source(source, 0)
    if source.get_type_name() != "Constant" or not source.get_element_type().is_real():
        return None
    return np.array(source.data, np.float32)


def _divide(owner: ov.Node, index: int, divisor: float) -> None:
    """Put a constant in place of another, which others may use as well."""
    values = _constant(owner, index)
    assert values is not None
    port = owner.input(index)
    port.replace_source_output(ops.constant(values / divisor, dtype=port.get_element_type()).output(0))
