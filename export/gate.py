"""The gate: a bundle that lost more than its thresholds allow is not written."""

from __future__ import annotations

from dataclasses import dataclass

from edge_app.model.manifest import KeptLayers, Loss, Manifest, Task, Thresholds
from edge_app.model.precision import in_words
from edge_app.model.vlm import VisionLanguageModel
from export.errors import ExportError
from export.examples import Examples
from export.quality import Case, measure, shortfalls, summarise
from export.workbench import Workbench

WORST_CASES = 5  # listed when the gate fails


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        loss: figures of each task.
        shortfalls: phrases about the thresholds that were missed; empty when the bundle passes.
        worst: the texts with the largest divergence, worst first.
        kept: layers that a search kept in FP32.
        searched: what a search for such layers found out in vain, in a sentence.
    """

    loss: dict[Task, Loss]
    shortfalls: list[str]
    worst: list[Case]
    kept: KeptLayers | None = None
    searched: str = ""

    def require(self, manifest: Manifest, examples: Examples) -> None:
        """Raise ExportError, with the thresholds missed and the worst cases, unless the bundle passes."""
        if not self.shortfalls:
            return
        precisions = {files.precision for files in manifest.roles.values()}
        lines = [f"{in_words(manifest).upper()} loses more than is allowed, so no bundle is written."]
        lines += [f"  {phrase}" for phrase in self.shortfalls]
        lines += [f"The worst of {len(examples)} pictures ({examples.origin}):", *map(describe, self.worst)]
        if self.searched:
            lines.append(self.searched)
        if "int4" in precisions:
            lines.append("INT4 keeps 16 values of a weight: leave out --stage ROLE=int4, or take int8 there.")
        if any(files.precision == "int8" for role, files in manifest.roles.items() if role != "decoder"):
            lines.append("Calibrate with more pictures, best of what the board will see, or choose --precision fp16.")
        elif "int8" in precisions:  # the decoder's weights, which no calibration touches
            lines.append("Give the decoder more precision: --stage decoder=fp16.")
        if precisions == {"fp16"}:
            lines.append("Weights of this checkpoint are too large or too small for 16 bits: choose --precision fp32.")
        lines.append("If this loss is fine for you, --accept-quality writes the bundle, and its manifest says so.")
        raise ExportError("\n".join(lines))


def describe(case: Case) -> str:
    """One line about a text of both models."""
    asked = f" {case.question.question!r}" if case.question else ""
    return f"  {case.picture}{asked}: FP32 {case.fp32!r}, now {case.chosen!r}, KL {case.mean_kl:.3g}"


def judge(
    bench: Workbench, examples: Examples, thresholds: Thresholds, chosen: VisionLanguageModel | None = None
) -> Verdict:
    """Measure `chosen`, by default the bundle as it is now, against FP32."""
    cases = measure(bench.fp32(), chosen or bench.chosen(), examples.items)
    loss = {task: summarise(found) for task, found in cases.items()}
    missed = [phrase for task, found in loss.items() for phrase in shortfalls(task, found, thresholds)]
    ranked = sorted((case for found in cases.values() for case in found), key=lambda case: -case.mean_kl)
    return Verdict(loss, missed, ranked[:WORST_CASES])
