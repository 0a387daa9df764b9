"""Embedding tables in 8 bits: the same numbers, and no FP32 copy of the table in the compiled graph."""

from __future__ import annotations

from math import prod

import nncf
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from edge_app.model.device import Compiler
from export.embeddings import look_up_then_widen

WORDS, WIDTH = 900, 64


def lookup() -> ov.Model:
    """Rows of a table, [B, T] -> [B, T, WIDTH], times weights whose activations are quantised, as in a text encoder."""
    rng = np.random.default_rng(0)
    table = ops.constant(rng.standard_normal((WORDS, WIDTH)).astype(np.float32))
    tokens = ops.parameter([-1, -1], np.int64)
    rows = ops.gather(table, tokens, ops.constant(np.int64(0)))
    low, high = ops.constant(np.float32(-4)), ops.constant(np.float32(4))
    rounded = ops.fake_quantize(rows, low, high, low, high, 256)
    weights = ops.constant(rng.integers(-127, 128, (WIDTH, WIDTH), np.int8))
    scaled = ops.multiply(ops.convert(weights, np.float32), ops.constant(np.float32(1 / 127)))
    return ov.Model([ops.result(ops.matmul(rounded, scaled, False, False))], [tokens], "lookup")


def compressed() -> ov.Model:
    mode = nncf.CompressWeightsMode.INT8_ASYM
    return nncf.compress_weights(lookup(), mode=mode, ignored_scope=nncf.IgnoredScope(types=["MatMul"]))


def largest_float_constant(model: ov.Model) -> int:
    """Numbers in the largest FP32 constant that the CPU plugin holds for `model`."""
    compiled = Compiler("CPU", threads=1).compile_model(model)
    sizes = [0]
    for node in compiled.get_runtime_model().get_ops():
        if node.get_rt_info()["layerType"].astype(str) in ("Const", "Constant"):
            sizes += [prod(port.get_shape()) for port in node.outputs() if port.get_element_type() == ov.Type.f32]
    return max(sizes)


def test_the_table_stays_in_8_bits_and_the_numbers_are_the_same() -> None:
    """As nncf leaves it the plugin holds the table in FP32; that this still is so says the rewriting is needed."""
    before, after = compressed(), compressed()
    assert look_up_then_widen(after) == 1
    tokens = np.array([[0, 17, WORDS - 1], [5, 5, 300]], np.int64)
    expected, actual = (Compiler("CPU", threads=1).compile_model(model)(tokens)[0] for model in (before, after))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    assert largest_float_constant(before) == WORDS * WIDTH
    assert largest_float_constant(after) < WORDS * WIDTH


def test_other_lookups_are_left_alone() -> None:
    """A table that is not compressed, as in an FP32 bundle."""
    model = lookup()
    assert look_up_then_widen(model) == 0
