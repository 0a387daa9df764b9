"""When INT8 loses too much: the layers that cost the most are found by measurement and kept in FP32.

First as few as should be enough, then twice as many, until the bundle passes or every costly layer is kept. A search
that does not make it pass leaves the bundle as it was: larger and no good is worse than small and no good.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from edge_app.model.manifest import KeptLayers, Role, RoleFiles, Thresholds
from export.bundle import save_role
from export.examples import Examples
from export.gate import Verdict, judge
from export.quality import allowed_kl
from export.quantize import Quantiser
from export.sensitivity import Layer, find_costs
from export.workbench import Workbench
from export.yardstick import Yardstick

SEARCH_PICTURES = 8  # each trial is measured with; of the calibration's, so that the gate judges by others
ENOUGH = 0.5  # layers are kept until those left should cost this share of what may be lost


class LayerSearch:
    """Keeps costly layers of INT8 roles in FP32 until the bundle passes."""

    def __init__(self, bench: Workbench, quantiser: Quantiser, work: Path, roles: Mapping[Role, RoleFiles]) -> None:
        """Begin with a bundle whose INT8 roles are all INT8.

        Args:
            bench: runs mixtures of graphs.
            quantiser: makes graphs with layers kept.
            work: the bundle's folder.
            roles: its files.
        """
        self._bench, self._quantiser, self._work = bench, quantiser, work
        self._before = dict(roles)
        self.roles = dict(roles)
        self._searched = [role for role, files in roles.items() if files.precision == "int8"]

    def run(self, failed: Verdict, examples: Examples, calibrated: Examples, thresholds: Thresholds) -> Verdict:
        """Find the costly layers with `calibrated` pictures, keep some, and judge by `examples` again.

        `self.roles` and the files in the bundle's folder are those of the verdict that is returned.
        """
        hopeless = self._hopeless(failed, examples, thresholds)
        if hopeless:
            return Verdict(failed.loss, failed.shortfalls, failed.worst, searched=hopeless)
        allowed = {task: allowed_kl(loss, thresholds) for task, loss in failed.loss.items()}
        yardstick = Yardstick(self._bench.fp32(), calibrated.items, allowed)
        costs = find_costs(self._bench, self._quantiser, yardstick, self._searched)
        count = first_count([cost for _, cost in costs])
        while True:
            kept = [layer for layer, _ in costs[:count]]
            tqdm.write(f"keeping {', '.join(layer.name for layer in kept)} in FP32", file=sys.stderr)
            self._keep(kept)
            verdict = judge(self._bench, examples, thresholds)
            if not verdict.shortfalls:
                break
            if count == len(costs):
                self._restore()
                told = f"Keeping the {count} costly layers in FP32 was not enough."
                return Verdict(failed.loss, failed.shortfalls, failed.worst, searched=told)
            count = min(2 * count, len(costs))
        report = KeptLayers(
            layers={role: tuple(layer.name for layer in kept if layer.role == role) for role in by_role(kept)},
            added_bytes=_size_bytes(self.roles) - _size_bytes(self._before),
            mean_kl_before={task: loss.mean_kl for task, loss in failed.loss.items()},
        )
        return Verdict(verdict.loss, verdict.shortfalls, verdict.worst, report)

    def _hopeless(self, failed: Verdict, examples: Examples, thresholds: Thresholds) -> str:
        """Why no layer in FP32 can help, in a sentence; empty where one may."""
        if not self._searched:
            return "No graph is INT8, so no layer of one can be kept in FP32."
        if not all(allowed_kl(loss, thresholds) > 0 for loss in failed.loss.values()):
            return "To this model a blank picture is as good as a real one: there is nothing to measure layers by."
        others = [role for role, files in self.roles.items() if files.precision not in ("int8", "fp32")]
        if others and judge(self._bench, examples, thresholds, self._bench.chosen(fp32=self._searched)).shortfalls:
            named = " and ".join(f"{role} ({self.roles[role].precision})" for role in others)
            return f"With FP32 in place of INT8 it loses too much all the same: {named} is at fault."
        return ""

    def _keep(self, kept: Sequence[Layer]) -> None:
        """Quantise anew, with all pictures, the roles that `kept` are in."""
        for role, operations in by_role(kept).items():
            model = self._quantiser.role(role, ignored=operations)
            self._clear(role)
            nothing_left = set(self._quantiser.operations(role)) <= set(operations)
            self.roles[role] = save_role(model, self._work, role, "fp32" if nothing_left else "int8")

    def _clear(self, role: Role) -> None:
        """Make room for other files of a role; the first ones are set aside."""
        for file in (self.roles[role].xml, self.roles[role].bin):
            # Moved or removed, not written over: a model that was just measured may still have the old file mapped.
            if self.roles[role] == self._before[role]:
                (self._work / file.name).rename(self._bench.scratch / file.name)
            else:
                (self._work / file.name).unlink()

    def _restore(self) -> None:
        """Put the first files back."""
        for role, files in self._before.items():
            if self.roles[role] != files:
                for file in (files.xml, files.bin):
                    (self._bench.scratch / file.name).replace(self._work / file.name)
        self.roles = dict(self._before)


def _size_bytes(roles: Mapping[Role, RoleFiles]) -> int:
    return sum(files.bin.size_bytes + files.xml.size_bytes for files in roles.values())


def by_role(layers: Sequence[Layer]) -> dict[Role, list[str]]:
    """Role -> names of the operations of its layers."""
    grouped: dict[Role, list[str]] = {}
    for layer in layers:
        grouped.setdefault(layer.role, []).extend(layer.operations)
    return grouped


def first_count(costs: Sequence[float]) -> int:
    """How many layers to keep first, of those that cost `costs`, so that the others cost half of what may be lost.

    The most costly comes first. At least one is kept. The costs of layers are summed, not that of their stage: it was
    calibrated with more pictures, and the difference would have layers kept that cost nothing. Where the sum says too
    little, the next round keeps more.
    """
    remaining = sum(costs)
    for count, cost in enumerate(costs, start=1):
        remaining -= cost
        if remaining <= ENOUGH:
            return count
    return len(costs)
