"""How fast this machine could run a stage at best: the roofline (Williams et al. 2009) of arithmetic and memory.

A stage has to read its weights and its inputs once, and to do its multiplications. Neither can be faster than the
machine's own best, which is measured here by plain means: sums over a large array, and one large matrix product after
the other in the precision of the stage. What a stage takes beyond that is overhead: repacking, attention, activation
functions, shapes that do not fill the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from edge_app.model.device import Compiler, Shape, core
from edge_app.model.manifest import Role, StagePrecision

COPY_BYTES = 256 << 20  # larger than any last-level cache of a board
PRODUCT_SIZE = 1024  # of the square matrices whose product is timed; twelve of them, one after the other
PRODUCTS = 12
REPEATS = 5

Arithmetic = Literal["int8", "fp32"]


@dataclass(frozen=True)
class Machine:
    """What a machine can do at best, with as many threads as were given.

    Attributes:
        read_bytes_per_s: memory reads.
        operations_per_s: multiplications and additions of a matrix product, by the type of its arithmetic.
    """

    read_bytes_per_s: float
    operations_per_s: dict[Arithmetic, float]

    def least_ms(self, work: Work) -> float:
        """What `work` takes at least: the larger of reading and computing."""
        return 1000 * max(
            work.read_bytes / self.read_bytes_per_s, work.operations / self.operations_per_s[work.arithmetic]
        )


@dataclass(frozen=True)
class Work:
    """What one run of a stage has to do: bytes of weights and inputs, operations of its matrix products."""

    read_bytes: int
    operations: int
    arithmetic: Arithmetic


def arithmetic_of(role: Role, precision: StagePrecision) -> Arithmetic:
    """What a stage multiplies in. 8 bits in the decoder are those of its weights alone (docs/bundle.md)."""
    return "int8" if precision == "int8" and role != "decoder" else "fp32"


def measure_machine(compiler: Compiler, threads: int) -> Machine:
    """Measure this machine with the device and threads of `compiler`; some seconds."""
    return Machine(
        _read_bytes_per_s(threads),
        {arithmetic: _operations_per_s(compiler, arithmetic) for arithmetic in get_args(Arithmetic)},
    )


def work_of(xml: Path, inputs: dict[str, Shape], arithmetic: Arithmetic) -> Work:
    """The work of an IR for inputs of these shapes."""
    model = core().read_model(str(xml))
    model.reshape({name: list(shape) for name, shape in inputs.items()})
    operations = sum(_operations(node) for node in model.get_ordered_ops())
    inputs_bytes = sum(prod(port.get_shape()) * port.get_element_type().size for port in model.inputs)
    return Work(xml.with_suffix(".bin").stat().st_size + inputs_bytes, operations, arithmetic)


def _operations(node: ov.Node) -> int:
    """Two for every multiplication of a matrix product or a convolution."""
    kind = node.get_type_name()
    if kind == "MatMul":
        attributes: dict[str, Any] = node.get_attributes()
        first = node.input(0).get_shape()
        inner = first[-2] if attributes["transpose_a"] else first[-1]
        return int(2 * prod(node.output(0).get_shape()) * inner)
    if kind == "Convolution":
        _, *kernel = node.input(1).get_shape()  # [out, in, height, width]
        return int(2 * prod(node.output(0).get_shape()) * prod(kernel))
    return 0


def _read_bytes_per_s(threads: int) -> float:
    """Memory reads: sums over parts of a large array, best of five."""
    parts = np.array_split(np.ones(COPY_BYTES // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:  # NumPy sums without holding the interpreter's lock
        return COPY_BYTES / _best_s(lambda: list(pool.map(np.sum, parts)))


def _operations_per_s(compiler: Compiler, arithmetic: Arithmetic) -> float:
    """Matrix products of PRODUCT_SIZE, best of five."""
    compiled = compiler.compile_model(_products(arithmetic))
    request = compiled.create_infer_request()
    request.set_input_tensor(ov.Tensor(np.ones((PRODUCT_SIZE, PRODUCT_SIZE), np.float32)))
    request.infer()
    return 2 * PRODUCTS * PRODUCT_SIZE**3 / _best_s(request.infer)


def _products(arithmetic: Arithmetic) -> ov.Model:
    """`PRODUCTS` matrix products in a row, each output the next one's input; INT8 as NNCF would write it."""
    rng = np.random.default_rng(0)
    parameter = ops.parameter([PRODUCT_SIZE, PRODUCT_SIZE], np.float32)
    value: Any = parameter
    for _ in range(PRODUCTS):
        if arithmetic == "int8":
            low, high = (ops.constant(np.float32(bound)) for bound in (-2.0, 127 / 64))
            value = ops.fake_quantize(value, low, high, low, high, 256)
            numbers = rng.integers(-127, 128, (PRODUCT_SIZE, PRODUCT_SIZE), np.int8)
            scale = np.float32(1 / 127 / PRODUCT_SIZE)
            weights = ops.multiply(ops.convert(ops.constant(numbers), np.float32), ops.constant(scale))
        else:
            numbers_fp32 = rng.standard_normal((PRODUCT_SIZE, PRODUCT_SIZE)).astype(np.float32) / PRODUCT_SIZE
            weights = ops.constant(numbers_fp32)
        value = ops.matmul(value, weights, transpose_a=False, transpose_b=True)
    return ov.Model([ops.result(value)], [parameter], f"products_{arithmetic}")


def _best_s(work: Callable[[], object]) -> float:
    best_s = float("inf")
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        best_s = min(best_s, time.perf_counter() - started)
    return best_s
