"""The largest value in each FP32 graph, over pictures: what FP16, which ends at 65,504, has to hold on a GPU.

Every result of an operation is a candidate, inner ones included: MLPs of transformers are known for single channels of
tens of thousands behind which a LayerNorm hides them. A copy of the graph gets one more output, the maxima of all its
operations, and the runtime's own loop runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from numpy.typing import NDArray
from tqdm import tqdm

from edge_app.model.bundle import Bundle
from edge_app.model.device import Compiler, Graph
from edge_app.model.manifest import GpuSpec, Manifest, Role
from edge_app.model.vlm import VisionLanguageModel
from export.calibration import Calibration

FP16_MAX = 65504.0
WARN_ABOVE = FP16_MAX / 10
# Other pictures than those measured have larger values, and kernels add up before they scale down.
F32_ABOVE = FP16_MAX / 2
PICTURES = 32  # measured at most: a maximum gains little from more

MAXIMA = "largest_activations"
_FLOATS = (ov.Type.f32, ov.Type.f16)


@dataclass(frozen=True)
class Largest:
    """The largest absolute value in one graph, and the operation that gave it."""

    value: float
    operation: str


def largest_activations(
    models: Mapping[Role, ov.Model], manifest: Manifest, work: Path, calibration: Calibration
) -> dict[Role, Largest]:
    """Caption the calibration pictures, or answer a question about each, and note the largest value of every graph.

    Args:
        models: role -> FP32 model; they are left as they are.
        manifest: tasks, tokens and sizes.
        work: the folder with the tokenizer.
        calibration: pictures and questions.
    """
    probes = _Probes(models)
    model = VisionLanguageModel(Bundle(work, manifest, ""), compilers={"CPU": probes})
    total = min(len(calibration.paths), PICTURES)
    with tqdm(islice(calibration.pictures(), total), total=total, desc="activations", unit="picture") as pictures:
        for index, picture in enumerate(pictures):
            encoding = model.encode(picture)
            if "caption" in manifest.tasks:
                model.caption(encoding)
            if "vqa" in manifest.tasks:
                model.answer(encoding, calibration.questions[index % len(calibration.questions)])
    return {role: graph.largest() for role, graph in probes.graphs.items()}


def gpu_spec(found: Mapping[Role, Largest]) -> GpuSpec:
    """What the manifest says of it: a graph whose values come near the end of FP16 needs FP32."""
    return GpuSpec(
        largest_activation={role: round(largest.value, 3) for role, largest in found.items()},
        f32=tuple(role for role, largest in found.items() if largest.value > F32_ABOVE),
    )


def with_maxima(model: ov.Model) -> tuple[ov.Model, list[str]]:
    """A copy with one more output, [operations]: the largest absolute value of each, and their names.

    What a mask is part of up to its softmax is left out: -1e4 where nothing may be seen is no activation, and is meant
    to be absorbed. Constants are left out, too.
    """
    copy = model.clone()
    masked = _masked(copy)
    maxima, names = [], []
    for node in copy.get_ordered_ops():
        name = node.get_friendly_name()
        if node.get_type_name() in ("Constant", "Result", "ShapeOf") or name in masked:
            continue
        for output in node.outputs():
            if output.get_element_type() not in _FLOATS or not output.get_target_inputs():
                continue
            axes = list(range(output.get_partial_shape().rank.get_length()))
            values = ops.convert(output, "f32") if output.get_element_type() == ov.Type.f16 else output
            largest = ops.reduce_max(ops.absolute(values), np.array(axes, np.int64), keep_dims=False)
            maxima.append(ops.reshape(largest, np.array([1], np.int64), special_zero=False))
            names.append(name)
    result = ops.result(ops.concat(maxima, axis=0))
    result.output(0).get_tensor().set_names({MAXIMA})
    copy.add_results([result])
    copy.validate_nodes_and_infer_types()
    return copy, names


def _masked(model: ov.Model) -> set[str]:
    """Names of the mask inputs and of what comes of them before a softmax."""
    found: set[str] = set()
    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        if node.get_type_name() == "Parameter":
            if any(tensor_name.endswith("mask") for tensor_name in node.output(0).get_names()):
                found.add(name)
        elif node.get_type_name() != "Softmax" and any(
            port.get_source_output().get_node().get_friendly_name() in found for port in node.inputs()
        ):
            found.add(name)
    return found


class _Probe(Graph):
    """A graph that keeps the maxima of every run."""

    def __init__(self, compiled: ov.CompiledModel, role: Role, names: list[str]) -> None:
        super().__init__(compiled, role, "CPU")
        del self.outputs[MAXIMA]  # it is none of the contract's
        self._names = names
        self._maxima: NDArray[np.float32] = np.zeros(len(names), np.float32)

    def infer(self) -> None:
        super().infer()
        np.maximum(self._maxima, self.array(MAXIMA), out=self._maxima)  # NaN stays NaN

    def largest(self) -> Largest:
        """What was largest so far; of values that are not finite, the largest that FP32 has."""
        maxima = np.nan_to_num(self._maxima, nan=float(np.finfo(np.float32).max))
        index = int(maxima.argmax())
        return Largest(float(maxima[index]), self._names[index])


class _Probes(Compiler):
    """Compiles probes of models in memory in place of a bundle's files."""

    def __init__(self, models: Mapping[Role, ov.Model]) -> None:
        super().__init__("CPU")
        self._models = models
        self.graphs: dict[Role, _Probe] = {}

    def compile(self, bundle: Bundle, role: Role, *, gpu_f32: bool = False, halves: bool = False) -> Graph:
        """The probe of one role, for the one model that asks."""
        del bundle, gpu_f32, halves  # the model in memory stands in for the file, and a CPU computes in FP32 anyway
        model, names = with_maxima(self._models[role])
        self.graphs[role] = _Probe(self.compile_model(model), role, names)
        return self.graphs[role]
