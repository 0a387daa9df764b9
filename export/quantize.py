"""INT8: post-training quantisation of the vision and question side, weight compression of the decoder.

The decoder keeps its activations in floating point: it reads every weight once a token, so its time is that of the memory,
which 8-bit weights halve, and quantising its activations is known to cost accuracy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import nncf
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from tqdm import tqdm

from edge_app.model.image import to_pixels
from edge_app.model.manifest import ImageSpec, Role
from export.calibration import Calibration

Feed = dict[str, NDArray[Any]]
# From question text to token ids, as the runtime makes them.
Encode = Callable[[str], list[int]]


def quantize_roles(
    models: dict[Role, ov.Model], calibration: Calibration, image: ImageSpec, encode: Encode
) -> dict[Role, ov.Model]:
    """Quantise FP32 role graphs; each is calibrated with what the FP32 graphs before it give.

    Args:
        models: role -> FP32 model.
        calibration: pictures and questions.
        image: how a picture becomes pixels.
        encode: question -> token ids.

    Returns:
        role -> INT8 model.
    """
    logging.getLogger("nncf").setLevel(logging.WARNING)
    feeds = _feeds(models, calibration, image, encode)
    result: dict[Role, ov.Model] = {}
    for role, model in tqdm(models.items(), desc="quantising", unit="graph"):
        if role == "decoder":
            result[role] = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
            continue
        samples = feeds[role]
        result[role] = nncf.quantize(
            model,
            nncf.Dataset(samples),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(samples),
        )
    return result


def _feeds(
    models: dict[Role, ov.Model], calibration: Calibration, image: ImageSpec, encode: Encode
) -> dict[Role, list[Feed]]:
    """Inputs of each graph for each calibration picture, from the FP32 graphs."""
    core = ov.Core()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = {
        role: core.compile_model(models[role], "CPU", options)
        for role in ("vision", "question_memory")
        if role in models
    }
    feeds: dict[Role, list[Feed]] = {role: [] for role in models}
    everywhere = np.zeros((1, 1, 1, image.positions), np.float32)
    questions = _cycle([np.array([encode(question)], np.int64) for question in calibration.questions])
    pictures = tqdm(calibration.pictures(), total=len(calibration.paths), desc="calibration pictures", unit="picture")
    for picture in pictures:
        pixels = to_pixels(picture, image)
        states = _outputs(compiled["vision"], {"pixels": pixels})
        feeds["vision"].append({"pixels": pixels})
        for role in ("caption_memory", "question_memory"):
            if role in models:
                feeds[role].append(states)
        if "question_encoder" in models:
            tokens = next(questions)
            mask = np.zeros((1, 1, 1, tokens.shape[1]), np.float32)
            asked: Feed = {"tokens": tokens, "token_mask": mask, "image_mask": everywhere}
            feeds["question_encoder"].append({**asked, **_outputs(compiled["question_memory"], states)})
    return feeds


def _outputs(compiled: ov.CompiledModel, inputs: Feed) -> Feed:
    results = compiled(inputs)
    return {port.get_any_name(): np.array(results[port]) for port in compiled.outputs}


def _cycle(items: list[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    while True:
        yield from items
