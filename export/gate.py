"""The gate: a bundle that lost more than its thresholds allow is not written.

When the bundle fails, the layers that cost the most are found by measurement and kept in FP32, first as few as should
be enough, then twice as many, until it passes or every costly layer is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from edge_app.model.manifest import KeptLayers, Loss, Role, RoleFiles, Task, Thresholds
from export.bundle import save_role
from export.errors import ExportError
from export.examples import Examples
from export.quality import Case, allowed_kl, measure, shortfalls, summarise
from export.quantize import Quantiser
from export.sensitivity import Costs, Layer, find_costs
from export.workbench import Workbench
from export.yardstick import Yardstick

SEARCH_PICTURES = 8  # each trial of the layer search is measured with, from the calibration's, never the gate's own
ENOUGH = 0.5  # layers are kept until those left should cost this share of what may be lost
WORST_CASES = 5  # listed when the gate fails


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        loss: figures of each task.
        shortfalls: phrases about the thresholds that were missed; empty when the bundle passes.
        worst: the texts with the largest divergence, worst first.
        kept: layers that a search kept in FP32.
    """

    loss: dict[Task, Loss]
    shortfalls: list[str]
    worst: list[Case]
    kept: KeptLayers | None = None

    def require(self, precision: str, examples: Examples) -> None:
        """Raise ExportError, with the thresholds missed and the worst cases, unless the bundle passes."""
        if not self.shortfalls:
            return
        lines = [f"{precision.upper()} loses more than is allowed, so no bundle is written."]
        lines += [f"  {phrase}" for phrase in self.shortfalls]
        lines += [f"The worst of {len(examples)} pictures ({examples.origin}):", *map(describe, self.worst)]
        if self.kept is not None:
            lines.append(f"Keeping {sum(map(len, self.kept.layers.values()))} layers in FP32 was not enough.")
        if precision == "int8":
            lines.append("Calibrate with more pictures, best of what the board will see, or choose --precision fp16.")
        lines.append("If this loss is fine for you, --accept-quality writes the bundle, and its manifest says so.")
        raise ExportError("\n".join(lines))


def describe(case: Case) -> str:
    """One line about a text of both models."""
    asked = f" {case.question.question!r}" if case.question else ""
    return f"  {case.picture}{asked}: FP32 {case.fp32!r}, now {case.chosen!r}, KL {case.mean_kl:.3g}"


def judge(bench: Workbench, examples: Examples, thresholds: Thresholds) -> Verdict:
    """Measure the bundle as it is now against FP32."""
    cases = measure(bench.fp32(), bench.chosen(), examples.items)
    loss = {task: summarise(found) for task, found in cases.items()}
    missed = [phrase for task, found in loss.items() for phrase in shortfalls(task, found, thresholds)]
    ranked = sorted((case for found in cases.values() for case in found), key=lambda case: -case.mean_kl)
    return Verdict(loss, missed, ranked[:WORST_CASES])


class LayerSearch:
    """Keeps costly layers in FP32 until the bundle passes."""

    def __init__(self, bench: Workbench, quantiser: Quantiser, work: Path, roles: Mapping[Role, RoleFiles]) -> None:
        """Begin with a bundle that is all INT8.

        Args:
            bench: runs mixtures of graphs.
            quantiser: makes graphs with layers kept.
            work: the bundle's folder.
            roles: its files.
        """
        self._bench, self._quantiser, self._work = bench, quantiser, work
        self.roles = dict(roles)

    def run(self, failed: Verdict, examples: Examples, calibrated: Examples, thresholds: Thresholds) -> Verdict:
        """Find the costly layers with `calibrated` pictures, keep some, and judge by `examples` again.

        `self.roles` and the files in the bundle's folder are those of the verdict that is returned.
        """
        allowed = {task: allowed_kl(loss, thresholds) for task, loss in failed.loss.items()}
        yardstick = Yardstick(self._bench.fp32(), calibrated.items, allowed)
        costs = find_costs(
            self._bench,
            self._quantiser,
            yardstick,
            [role for role, file in self.roles.items() if file.precision == "int8"],
        )
        size_bytes = self._size_bytes()
        count = first_count(costs)
        while True:
            kept = [layer for layer, _ in costs.layers[:count]]
            tqdm.write(f"keeping {', '.join(layer.name for layer in kept)} in FP32", file=sys.stderr)
            self._keep(kept)
            verdict = judge(self._bench, examples, thresholds)
            if not verdict.shortfalls or count == len(costs.layers):
                break
            count = min(2 * count, len(costs.layers))
        report = KeptLayers(
            layers={role: tuple(layer.name for layer in kept if layer.role == role) for role in by_role(kept)},
            added_bytes=self._size_bytes() - size_bytes,
            mean_kl_before={task: loss.mean_kl for task, loss in failed.loss.items()},
        )
        return Verdict(verdict.loss, verdict.shortfalls, verdict.worst, report)

    def _keep(self, kept: Sequence[Layer]) -> None:
        """Quantise anew, with all pictures, the roles that `kept` are in."""
        for role, operations in by_role(kept).items():
            model = self._quantiser.role(role, ignored=operations)
            for file in (self.roles[role].xml, self.roles[role].bin):
                # Removed, not written over: a model that was just measured may still have the old file mapped.
                (self._work / file.name).unlink()
            self.roles[role] = save_role(model, self._work, role, "int8")

    def _size_bytes(self) -> int:
        return sum(files.bin.size_bytes + files.xml.size_bytes for files in self.roles.values())


def by_role(layers: Sequence[Layer]) -> dict[Role, list[str]]:
    """Role -> names of the operations of its layers."""
    grouped: dict[Role, list[str]] = {}
    for layer in layers:
        grouped.setdefault(layer.role, []).extend(layer.operations)
    return grouped


def first_count(costs: Costs) -> int:
    """How many of the most costly layers to keep first, so that the others should cost half of what may be lost.

    At least one. The costs of layers are summed, not that of their stage: it was calibrated with more pictures, and
    the difference would have layers kept that cost nothing. Where the sum says too little, the next round keeps more.
    """
    remaining = sum(cost for _, cost in costs.layers)
    for count, (_, cost) in enumerate(costs.layers, start=1):
        remaining -= cost
        if remaining <= ENOUGH:
            return count
    return len(costs.layers)
