"""Compile role graphs for an inference device; run them without copies."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.properties.device as of_devices
import openvino.properties.hint as hints
from numpy.typing import NDArray
from openvino import properties

from edge_app.errors import DeviceError
from edge_app.model.bundle import Bundle
from edge_app.model.gpu_graph import scale_after_mask, with_halves
from edge_app.model.manifest import Role

log = logging.getLogger(__name__)

Shape = tuple[int, ...]  # of a graph's input or output; -1 for a length that is free

AUTO_ORDER = ("GPU", "CPU")  # the iGPU first: it leaves the cores to the camera and the display


@functools.cache
def core() -> ov.Core:
    """The one OpenVINO core of this process, which lives as long as the process.

    A core gives its thread a stack for signal handlers and takes it back when it ends; seen with OpenVINO 2026.4. Of
    two cores that live at once, the one that ends last puts back the stack of the other, which is gone by then: the
    next signal with a Python handler, a SIGTERM or a SIGCHLD, is a segmentation fault. So nobody else makes a core.
    """
    return ov.Core()


def candidates(requested: str, available: Sequence[str]) -> list[str]:
    """Devices to try, best first; the CPU is always the last resort.

    Args:
        requested: "AUTO", "GPU", "GPU.1", "CPU", ...
        available: what OpenVINO found on this machine.
    """
    wanted = AUTO_ORDER if requested == "AUTO" else (requested,)
    return list(dict.fromkeys([*(name for name in wanted if is_present(name, available)), "CPU"]))


def gpus_of(name: str) -> list[str]:
    """The GPUs among the devices that a device is made of: itself, or the parts of `HETERO:GPU,CPU`."""
    return [part for part in name.rpartition(":")[2].split(",") if part.partition(".")[0] == "GPU"]


def is_gpu(name: str) -> bool:
    """Whether a device is a GPU and nothing else."""
    return gpus_of(name) == [name]


def is_present(name: str, available: Sequence[str]) -> bool:
    """Whether OpenVINO found a device; one that is made of others (`HETERO:GPU,CPU`) is there if they are."""
    parts = name.rpartition(":")[2].split(",")
    return all(any(found == part or found.startswith(f"{part}.") for found in available) for part in parts)


class Graph:
    """One compiled role with one inference request, reused: nothing is allocated a call.

    Outputs are views of the request's own memory. They hold until the next `run` of this graph; copy what must live
    longer.
    """

    def __init__(self, compiled: ov.CompiledModel, role: Role, device: str) -> None:
        self.role = role
        self.device = device
        self.inputs: dict[str, Shape] = {port.get_any_name(): _shape(port) for port in compiled.inputs}
        self.outputs: dict[str, Shape] = {port.get_any_name(): _shape(port) for port in compiled.outputs}
        self.types: dict[str, np.dtype[Any]] = {
            port.get_any_name(): np.dtype(port.get_element_type().to_dtype()) for port in compiled.inputs
        }
        self.threads = _threads(compiled)  # of the CPU; None where the device does not say
        self.last_ms = 0.0  # that the last `run` took
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._bound: dict[str, Any] = {}  # keeps bound arrays alive: OpenVINO holds only their address

    def twin(self) -> Graph:
        """The same compiled role with an inference request, and so with outputs, of its own."""
        return Graph(self._compiled, self.role, self.device)

    def bind(self, inputs: Mapping[str, Any]) -> None:
        """Bind arrays or tensors to inputs until they are bound anew.

        Their memory is shared, not copied, unless they are of another type than the graph takes.
        """
        for name, given in inputs.items():
            value = given
            if not isinstance(given, ov.Tensor) and given.dtype != self.types[name]:
                value = given.astype(self.types[name])
            tensor = value if isinstance(value, ov.Tensor) else ov.Tensor(value, shared_memory=True)
            self._request.set_tensor(name, tensor)
            self._bound[name] = value

    def run(self, inputs: Mapping[str, Any]) -> None:
        """Bind `inputs` and infer. Raises DeviceError when the device fails."""
        self.bind(inputs)
        self.infer()

    def infer(self) -> None:
        """Infer with what is bound. Raises DeviceError when the device fails."""
        started = time.perf_counter()
        try:
            self._request.infer()
        except RuntimeError as error:
            raise DeviceError(f"The {self.role} graph failed on {self.device}: {_first_line(error)}.") from error
        self.last_ms = (time.perf_counter() - started) * 1000

    def bound_shapes(self) -> dict[str, Shape]:
        """The shapes of the inputs as they are bound now."""
        return {name: tuple(value.shape) for name, value in self._bound.items()}

    def tensor(self, name: str) -> ov.Tensor:
        """An output as a tensor that another graph can take as input without a copy."""
        return self._request.get_tensor(name)

    def array(self, name: str) -> NDArray[np.float32]:
        """An output as a NumPy view."""
        view: NDArray[np.float32] = self._request.get_tensor(name).data
        return view


def _shape(port: Any) -> Shape:
    return tuple(-1 if length.is_dynamic else length.get_length() for length in port.get_partial_shape())


def _threads(compiled: ov.CompiledModel) -> int | None:
    """CPU threads that a graph was compiled for: what was asked for is an upper limit, and 0 asks for nothing."""
    name = properties.inference_num_threads()
    if name not in compiled.get_property(properties.supported_properties()):
        return None  # a GPU
    return int(compiled.get_property(name))


def _first_line(error: BaseException) -> str:
    """What OpenVINO says, without the source lines of its own that it says it from."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check "))]
    return (told or lines or [type(error).__name__])[0].rstrip(".")


class Compiler:
    """Compiles the roles of bundles for one device, with one set of properties."""

    def __init__(self, device: str, *, threads: int = 0, cache_dir: Path | None = None) -> None:
        """Choose properties for `device`.

        Args:
            device: one OpenVINO device name.
            threads: CPU threads; 0 lets OpenVINO decide.
            cache_dir: folder of compiled graphs, which shortens later starts; None compiles anew each time.
        """
        self.device = device
        self._properties: dict[str, Any] = {
            hints.performance_mode(): hints.PerformanceMode.LATENCY,
            # By its type: the GPU plugin refuses a Python int, which the CPU's takes.
            properties.num_streams(): properties.streams.Num(1),
        }
        self._compiled: dict[tuple[Path, bool, bool], ov.CompiledModel] = {}
        of_cpu: dict[str, Any] = {
            # Without this a CPU with BF16 units rounds activations to 8 bits of mantissa, and FP32 bundles would no
            # longer give the reference's tokens. The INT8 parts of a graph are not affected.
            hints.inference_precision(): ov.Type.f32,
            # Else passes of several tokens round activations to 8 bits, and those of one token do not: a draft or a
            # batch would now and then change a text. It costs a drafted caption of BLIP-base 8 %, a plain one nothing.
            hints.dynamic_quantization_group_size(): 0,
        }
        if threads:
            of_cpu[properties.inference_num_threads()] = threads
        if device == "CPU":
            self._properties |= of_cpu
        self._of_cpu = of_cpu
        if cache_dir is not None:
            self._properties[properties.cache_dir()] = str(cache_dir)

    def compile(self, bundle: Bundle, role: Role, *, gpu_f32: bool = False, halves: bool = False) -> Graph:
        """Read and compile one role of a verified bundle, once: the next graph of it shares the weights.

        Args:
            bundle: where it is.
            role: which.
            gpu_f32: compute it in FP32 where the device is a GPU, not in FP16; a CPU always does.
            halves: take and give keys and values in FP16, as a GPU with the text side does: see `gpu_graph`.

        Raises:
            BundleError: the bundle lacks the role.
            DeviceError: OpenVINO cannot read or compile it on this device.
        """
        path = bundle.role_path(role)
        key = (path, gpu_f32 and bool(gpus_of(self.device)), halves)
        if key not in self._compiled:
            model = self._rewritten(path) if halves else path
            self._compiled[key] = self.compile_model(model, gpu_f32=gpu_f32, fused_attention=role == "vision")
        return Graph(self._compiled[key], role, self.device)

    def _rewritten(self, path: Path) -> ov.Model:
        try:
            model = core().read_model(str(path))
        except RuntimeError as error:
            raise DeviceError(f"OpenVINO cannot read {path}: {_first_line(error)}.") from error
        if is_gpu(self.device):
            scale_after_mask(model)
        return with_halves(model)

    def compile_model(
        self, model: Path | ov.Model, *, gpu_f32: bool = False, fused_attention: bool = True
    ) -> ov.CompiledModel:
        """Compile an IR or a model in memory. Raises DeviceError when OpenVINO cannot.

        Without `fused_attention` a GPU computes attention as matmul, softmax, matmul. The one kernel that OpenVINO
        2026.4 makes of some graphs (heads of 64, scores that are not divided) reads past the end of keys whose batch
        is 1 when that of the queries is more, as for beams, choices and questions about one picture: only the first
        row is right.
        """
        chosen = self._properties | self._of_parts(gpu_f32=gpu_f32, fused_attention=fused_attention)
        try:
            return core().compile_model(str(model) if isinstance(model, Path) else model, self.device, chosen)
        except RuntimeError as error:
            name = model if isinstance(model, Path) else model.get_friendly_name()
            raise DeviceError(f"OpenVINO cannot compile {name} for {self.device}: {_first_line(error)}.") from error

    def _of_parts(self, *, gpu_f32: bool, fused_attention: bool) -> dict[str, Any]:
        """The properties that a graph has of its own, or that are for one of several devices."""
        of_gpu: dict[str, Any] = {hints.inference_precision(): ov.Type.f32 if gpu_f32 else ov.Type.f16}
        if not fused_attention:
            of_gpu["GPU_ENABLE_SDPA_OPTIMIZATION"] = False
        gpus = gpus_of(self.device)
        if ":" not in self.device:
            return of_gpu if gpus else {}
        return {of_devices.properties(): {"CPU": self._of_cpu, **dict.fromkeys(gpus, of_gpu)}}
