"""Which layers cost the most in 8 bits: found by measurement, from the stage to the block to the layer.

At each level one part alone is put in 8 bits, everything else stays FP32, and what that costs is measured at the very
end of the loop. Measured so, costs roughly add up, and two ruined layers do not hide each other (taking one of them
back from an all-INT8 model would show no gain while the other still ruins it). Only parts that matter are looked into
further: BLIP-base has some 200 layers, and a trial takes half a minute on two cores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tqdm import tqdm

from edge_app.model.manifest import Role
from export.quantize import Quantiser
from export.workbench import Workbench
from export.yardstick import Yardstick

CALIBRATION_PICTURES = 8  # each trial is calibrated with
NEGLIGIBLE = 0.1  # parts that together have less than this share of the cost, or of what may be lost, are left alone

Part = TypeVar("Part", bound=str)

_MODULE = re.compile(r"^__module\.([^/]+)/")
_BLOCK = re.compile(r".*?\.\d+(?=\.|$)")


@dataclass(frozen=True)
class Layer:
    """Operations that are quantised or kept together: those of one module of the checkpoint.

    Attributes:
        role: the graph it is in.
        name: the module's path, such as `encoder.layers.3.mlp.fc2`.
        block: the path up to the layer's number, `encoder.layers.3`.
        operations: names in the graph.
    """

    role: Role
    name: str
    block: str
    operations: tuple[str, ...]


def find_costs(
    bench: Workbench, quantiser: Quantiser, yardstick: Yardstick, roles: Sequence[Role]
) -> list[tuple[Layer, float]]:
    """Measure the stages, the blocks of the costly stages, and the layers of the costly blocks.

    Returns the layers that were looked into, the most costly first, each with what it costs when it alone is in 8 bits:
    as a share of what may be lost.
    """
    trials = _Trials(bench, quantiser, yardstick)
    stages = {role: trials.stage(role) for role in tqdm(roles, desc="cost of each stage", unit="stage")}
    found: list[tuple[Layer, float]] = []
    for role in costly(stages):
        blocks: dict[str, list[Layer]] = {}
        for layer in layers_of(role, quantiser.operations(role)):
            blocks.setdefault(layer.block, []).append(layer)
        bar = tqdm(blocks.items(), desc=f"cost of each block of {role}", unit="block")
        of_block = {name: trials.alone(layers) for name, layers in bar}
        layers = [layer for name in costly(of_block) for layer in blocks[name]]
        each = tqdm(layers, desc=f"cost of each layer of {role}", unit="layer")
        found += [(layer, trials.alone([layer])) for layer in each]
    found.sort(key=lambda pair: pair[1], reverse=True)
    return found


class _Trials:
    """Quantises one part, measures, and throws it away."""

    def __init__(self, bench: Workbench, quantiser: Quantiser, yardstick: Yardstick) -> None:
        self._bench, self._quantiser, self._yardstick = bench, quantiser, yardstick

    def stage(self, role: Role) -> float:
        """Cost of the bundle's graph of one role."""
        return self._yardstick.measure(self._bench.one_chosen(role))

    def alone(self, layers: Sequence[Layer]) -> float:
        """Cost of some layers of one role."""
        role = layers[0].role
        part = {name for layer in layers for name in layer.operations}
        rest = [name for name in self._quantiser.operations(role) if name not in part]
        model = self._quantiser.role(role, ignored=rest, pictures=CALIBRATION_PICTURES, quiet=True)
        with self._bench.trial(role, model) as mixture:
            return self._yardstick.measure(mixture)


def layers_of(role: Role, operations: Sequence[str]) -> list[Layer]:
    """Operations, in the order they run, as the layers of the checkpoint.

    `__module.encoder.layers.3.mlp.fc2/aten::linear/MatMul` belongs to `encoder.layers.3.mlp.fc2`. An
    operation outside any module, such as a product of queries and keys, is a layer of the block that it runs in.
    """
    grouped: dict[str, list[str]] = {}
    block_of: dict[str, str] = {}
    block = ""
    for operation in operations:
        module = _MODULE.match(operation)
        name = module.group(1) if module else operation
        if module:
            numbered = _BLOCK.match(name)
            block = numbered.group() if numbered else name
        grouped.setdefault(name, []).append(operation)
        block_of.setdefault(name, block or name)
    return [Layer(role, name, block_of[name], tuple(members)) for name, members in grouped.items()]


def costly(costs: Mapping[Part, float]) -> list[Part]:
    """Parts by cost, the largest first, without those that are negligible together; the first is never left out."""
    ranked = sorted(costs, key=lambda part: costs[part], reverse=True)
    limit = NEGLIGIBLE * max(1.0, sum(costs.values()))
    remaining = 0.0
    while len(ranked) > 1 and remaining + costs[ranked[-1]] < limit:
        remaining += costs[ranked.pop()]
    return ranked
