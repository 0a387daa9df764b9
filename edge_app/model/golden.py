"""The golden sample: proof that a device computes what the export computed.

A picture made by formula goes through every graph; then the recorded token ids are fed in one pass and the logits
after each are compared with the recorded best ones. Comparing logits, not only the tokens that would be chosen,
leaves room for the rounding of another device but none for NaN or for a graph that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge_app.errors import BundleError, DeviceError
from edge_app.model.encoder import Encoding
from edge_app.model.manifest import Golden, GoldenText, ImageSpec, Manifest, Task
from edge_app.model.vlm import VisionLanguageModel

QUESTION = "what is in the picture?"
TOP = 8  # logits recorded a position
# In standard deviations of the logits; docs/bundle.md has the measurements behind it.
TOLERANCE = 0.5


def golden_picture(spec: ImageSpec) -> NDArray[np.uint8]:
    """A picture [height, width, 3] BGR of waves, squares and noise that any machine computes alike (integers only)."""
    rows, columns = np.indices((spec.height_px, spec.width_px), dtype=np.int64)
    waves = np.stack(
        [(columns * 7 + rows * 3) % 256, (columns * columns // 11) % 256, (rows * columns // 13) % 256], -1
    )
    squares = ((rows // 16 + columns // 16) % 2)[..., None] * 64
    noise = (rows * 1103515245 + columns * 12345 + rows * columns * 69069) // 65536 % 32
    picture: NDArray[np.uint8] = np.clip(waves - squares + noise[..., None], 0, 255).astype(np.uint8)
    return picture


def record(model: VisionLanguageModel) -> Golden:
    """Run the golden picture through every task of `model` and note what came out."""
    texts: dict[Task, GoldenText] = {}
    encoding = encode_golden(model)
    for task in model.manifest.tasks:
        text = model.caption(encoding) if task == "caption" else model.answer(encoding, QUESTION)
        question = None if task == "caption" else QUESTION
        logits = model.logits(task, encoding, question, text.token_ids)
        best = np.argsort(-logits, axis=-1)[:, :TOP]
        texts[task] = GoldenText(
            question=question,
            token_ids=text.token_ids,
            top_ids=tuple(tuple(map(int, row)) for row in best),
            top_logits=tuple(
                tuple(round(float(value), 4) for value in row) for row in np.take_along_axis(logits, best, axis=-1)
            ),
            logit_std=float(logits.std()),
        )
    return Golden(tolerance=TOLERANCE, texts=texts)


def encode_golden(model: VisionLanguageModel) -> Encoding:
    """The golden picture, encoded; raises DeviceError when the device failed."""
    return model.encode(golden_picture(model.manifest.image))


def verify(model: VisionLanguageModel, encoding: Encoding | None = None) -> float:
    """Compare this device with the record; returns the largest difference, in standard deviations of the logits.

    Args:
        model: on the device in question.
        encoding: of the golden picture, where it is at hand.

    Raises:
        BundleError: there is no record to compare with.
        DeviceError: the device computes something else, or values that are not finite.
    """
    golden = model.manifest.golden
    if golden is None:
        raise BundleError(
            f"The bundle {model.bundle.path} has no golden sample to check a device with; export it again."
        )
    encoding = encoding or encode_golden(model)
    worst = 0.0
    for task, expected, rows in _checks(model.manifest, golden):
        logits = model.logits(task, encoding, expected.question, expected.token_ids, rows=rows)
        actual = np.take_along_axis(logits, np.array(expected.top_ids), axis=-1)
        difference = float(np.abs(actual - np.array(expected.top_logits)).max()) / expected.logit_std
        if not difference <= golden.tolerance:  # written so that NaN fails too
            batch = "" if rows == 1 else f" in a batch of {rows}"
            raise DeviceError(
                f"{model.device} does not compute the golden sample of {model.manifest.name}: its {task} logits{batch} "
                f"are off by {difference:.2f} standard deviations (allowed {golden.tolerance}); "
                "the next device will be tried."
            )
        worst = max(worst, difference)
    return worst


def _checks(manifest: Manifest, golden: Golden) -> Iterator[tuple[Task, GoldenText, int]]:
    """Yield each record with the sequences to check it with: one, and a batch of two where the task is used with more.

    A kernel may be right for one sequence and wrong for all but the first of a batch: OpenVINO's fused attention is.
    """
    for task, expected in golden.texts.items():
        yield task, expected, 1
        if task == "vqa" or manifest.generation[task].beams > 1:
            yield task, expected, 2
