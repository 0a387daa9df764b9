"""INT8: post-training quantisation of the vision and question side, weight compression of the decoder.

INT4 compresses weights alone, in groups with a scale each, on either side.

The decoder keeps its activations in floating point: it reads every weight once a token, so its time is that of the
memory, which 8-bit weights quarter, and quantising its activations is known to cost accuracy.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import redirect_stdout
from typing import Any

import nncf
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from tqdm import tqdm

from edge_app.model.device import core
from edge_app.model.image import to_pixels
from edge_app.model.manifest import ImageSpec, Role, StagePrecision
from export.calibration import Calibration
from export.embeddings import look_up_then_widen

Feed = dict[str, NDArray[Any]]
# From question text to token ids, as the runtime makes them.
Encode = Callable[[str], list[int]]

# Operations whose weights or inputs NNCF puts in 8 bits; where none of them is left to it, it changes nothing.
_QUANTISED_TYPES = {"MatMul", "Convolution", "ScaledDotProductAttention"}
_COMPRESSED_TYPES = {"MatMul", "Gather"}  # of the decoder: Gather is the table of word embeddings


INT4_GROUP = 64  # weights that share a scale; divides the widths of every public BLIP
LEAST_INT4_GROUP = 16  # for widths that it does not divide


class Quantiser:
    """Quantises FP32 role graphs; each is calibrated with what the FP32 graphs before it give."""

    def __init__(
        self, models: Mapping[Role, ov.Model], calibration: Calibration | None, image: ImageSpec, encode: Encode
    ) -> None:
        """Run the calibration pictures through the FP32 graphs.

        Args:
            models: role -> FP32 model; they are left as they are.
            calibration: pictures and questions; None will do where weights alone are compressed.
            image: how a picture becomes pixels.
            encode: question -> token ids.
        """
        logging.getLogger("nncf").setLevel(logging.WARNING)
        self._models = models
        self._data = None if calibration is None else _CalibrationData(models, calibration, image, encode)

    def all_roles(self, precisions: Mapping[Role, StagePrecision]) -> dict[Role, ov.Model]:
        """role -> model: INT8 and INT4 ones in new models, the others as they are."""
        return {
            role: self.role(role, weights_bits=4 if precisions[role] == "int4" else 8)
            if precisions[role] in ("int8", "int4")
            else model
            for role, model in tqdm(self._models.items(), desc="quantising", unit="graph")
        }

    def role(
        self,
        role: Role,
        *,
        weights_bits: int = 8,
        ignored: Collection[str] = (),
        pictures: int | None = None,
        quiet: bool = False,
    ) -> ov.Model:
        """The INT8 model of one role, or with 4 `weights_bits` the one with INT4 weights.

        Args:
            role: which.
            weights_bits: 8 or 4.
            ignored: names of operations that stay in FP32.
            pictures: calibration pictures used, from the first; None for all.
            quiet: keep NNCF's own progress bars off the terminal, for when many models are tried.
        """
        scope = nncf.IgnoredScope(names=sorted(ignored))
        with redirect_stdout(io.StringIO() if quiet else sys.stderr):  # stdout is for what the export found
            if weights_bits == 4:
                return nncf.compress_weights(
                    self._models[role].clone(),
                    mode=nncf.CompressWeightsMode.INT4_ASYM,
                    group_size=INT4_GROUP,
                    ignored_scope=scope,
                    advanced_parameters=nncf.AdvancedCompressionParameters(
                        group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST,
                        min_adjusted_group_size=LEAST_INT4_GROUP,
                    ),
                )
            if role == "decoder":
                return nncf.compress_weights(
                    self._models[role].clone(), mode=nncf.CompressWeightsMode.INT8_ASYM, ignored_scope=scope
                )
            data = self._data
            if data is None:
                raise ValueError(f"The stage {role} needs calibration pictures to be INT8; none were given.")
            size = data.size if pictures is None else min(pictures, data.size)
            # Tables of embeddings are not for nncf.quantize, whose form of 8 bits OpenVINO widens when it compiles.
            quantised = nncf.quantize(
                self._models[role],
                nncf.Dataset(range(size), lambda index: data.feed(role, index)),
                model_type=nncf.ModelType.TRANSFORMER,
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=size,
                ignored_scope=nncf.IgnoredScope(names=sorted(ignored), types=["Gather"], validate=False),
            )
            if role != "question_encoder":
                return quantised
            others = nncf.IgnoredScope(types=sorted(_QUANTISED_TYPES), validate=False)
            compressed = nncf.compress_weights(quantised, mode=nncf.CompressWeightsMode.INT8_ASYM, ignored_scope=others)
            look_up_then_widen(compressed)
            return compressed

    def operations(self, role: Role) -> list[str]:
        """Names of the operations of a role that INT8 touches, from the first to the last."""
        ordered = self._models[role].get_ordered_ops()
        if role == "decoder":  # weights alone: a product of queries and keys has none
            touched = [op for op in ordered if op.get_type_name() in _COMPRESSED_TYPES and _has_weights(op)]
        else:
            touched = [op for op in ordered if op.get_type_name() in _QUANTISED_TYPES]
        return [op.get_friendly_name() for op in touched]


def _has_weights(operation: ov.Node) -> bool:
    """Whether it takes a constant of more than one dimension, perhaps converted on the way."""
    for port in operation.inputs():
        node = port.get_source_output().get_node()
        while node.get_type_name() == "Convert":
            node = node.input(0).get_source_output().get_node()
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) > 1:
            return True
    return False


class _CalibrationData:
    """Inputs of each graph for each calibration picture, from the FP32 graphs before it.

    Pixels and image states are kept. The question encoder's image keys and values are computed when they are asked
    for: those of BLIP-base take 42 MB a picture.
    """

    def __init__(
        self, models: Mapping[Role, ov.Model], calibration: Calibration, image: ImageSpec, encode: Encode
    ) -> None:
        compiled: dict[Role, ov.CompiledModel] = {
            role: core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            for role, model in models.items()
            if role in ("vision", "question_memory")
        }
        self._question_memory = compiled.get("question_memory")
        self._everywhere = np.zeros((1, 1, 1, image.positions), np.float32)
        self._questions = [np.array([encode(question)], np.int64) for question in calibration.questions]
        self._pixels: list[Feed] = []
        self._states: list[Feed] = []
        total = len(calibration.paths)
        for picture in tqdm(calibration.pictures(), total=total, desc="calibration pictures", unit="picture"):
            self._pixels.append({"pixels": to_pixels(picture, image)})
            self._states.append(_outputs(compiled["vision"], self._pixels[-1]))

    @property
    def size(self) -> int:
        return len(self._pixels)

    def feed(self, role: Role, index: int) -> Feed:
        if role == "vision":
            return self._pixels[index]
        if role != "question_encoder" or self._question_memory is None:
            return self._states[index]
        tokens = self._questions[index % len(self._questions)]
        mask = np.zeros((1, 1, 1, tokens.shape[1]), np.float32)
        asked: Feed = {"tokens": tokens, "token_mask": mask, "image_mask": self._everywhere}
        return {**asked, **_outputs(self._question_memory, self._states[index])}


def _outputs(compiled: ov.CompiledModel, inputs: Feed) -> Feed:
    results = compiled(inputs)
    return {port.get_any_name(): np.array(results[port]) for port in compiled.outputs}
