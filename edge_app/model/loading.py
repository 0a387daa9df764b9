"""Bundles become models, each on the best devices that compute it rightly.

Devices are taken when they compile every graph and reproduce the golden sample; else the next ones are tried, and what
went wrong is kept so that it can be said aloud (log, `info` topic, overlay): a silent fall-back to the CPU leaves a
board far slower than planned, and nobody knows why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from edge_app.errors import BundleError, DeviceError
from edge_app.minisign import PublicKey
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.choice import Choice, find_choice, measurable
from edge_app.model.device import Compiler, core, is_present
from edge_app.model.golden import encode_golden, verify
from edge_app.model.manifest import Task
from edge_app.model.memory import give_back, keep_working_memory
from edge_app.model.placement import Placement, placements
from edge_app.model.precision import in_words
from edge_app.model.vlm import VisionLanguageModel
from edge_app.model.warm_up import warm_up

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModels:
    """Models ready to serve.

    Attributes:
        models: one a bundle, in the order they were named.
        requested: the device asked for.
        fallbacks: a sentence for each device that was asked for, or measured as the best, and not taken.
        refused: device -> why it cannot run one of the models.
        measured: hash of a bundle -> the devices that were measured as the best for it, where that holds.
        unmeasured: folders of the bundles for which there is a choice of devices that nobody has measured.
        is_auto: whether the configuration left the devices to what was measured.
    """

    models: tuple[VisionLanguageModel, ...]
    requested: str
    fallbacks: tuple[str, ...]
    refused: Mapping[str, str]
    measured: Mapping[str, Choice]
    unmeasured: tuple[str, ...]
    is_auto: bool

    def find(self, task: Task) -> VisionLanguageModel | None:
        """The first model that serves `task`, if there is one."""
        return next((model for model in self.models if task in model.manifest.tasks), None)

    def serving(self, task: Task) -> VisionLanguageModel:
        """The first model that serves `task`; raises BundleError when none does."""
        if model := self.find(task):
            return model
        names = ", ".join(model.manifest.name for model in self.models)
        raise BundleError(f"None of the bundles ({names}) serves {task}; add one exported with --task {task}.")

    @property
    def device(self) -> str:
        """The device of the first model, e.g. `CPU`, or `GPU+CPU` where its sides have one each."""
        return self.models[0].device

    @property
    def devices(self) -> frozenset[str]:
        """All devices in use."""
        return frozenset().union(*(model.placement.devices for model in self.models))

    def info(self) -> dict[str, Any]:
        """What the `info` topic tells of the models."""
        return {
            "bundles": [
                {
                    "name": model.manifest.name,
                    "hash": model.bundle.hash,
                    "version": model.manifest.version,
                    "signed_by": model.bundle.signed.key if model.bundle.signed else "unsigned",
                    "folder": str(model.bundle.path),
                    "family": model.manifest.family,
                    "precision": in_words(model.manifest),
                    "tasks": list(model.manifest.tasks),
                    "device": model.device,
                    "placement": self._placement(model),
                }
                for model in self.models
            ],
            "unmeasured": list(self.unmeasured),
            "requested_device": self.requested,
            "device": self.device,
            "fallbacks": list(self.fallbacks),
            # Of the first bundle that has the stage.
            "stages": {role: graph.device for model in reversed(self.models) for role, graph in model.graphs.items()},
            "openvino": ov.get_version(),
        }

    def _placement(self, model: VisionLanguageModel) -> dict[str, Any]:
        """Where the sides of a model are, and why: measured as the best, as configured, or the first that can."""
        choice = self.measured.get(model.bundle.hash)
        if choice is None or choice.placement != model.placement:
            return placement_info(model.placement, "order" if self.is_auto else "configuration", None)
        return placement_info(model.placement, "measurement", choice)


def placement_info(placement: Placement, by: str, choice: Choice | None) -> dict[str, Any]:
    """What `info` tells of a placement."""
    measurement = choice.measurement.model_dump() if choice and choice.measurement else None
    return {"picture": placement.picture, "text": placement.text, "by": by, "measurement": measurement}


def load_models(
    folders: Sequence[Path],
    *,
    device: str = "AUTO",
    text_device: str | None = None,
    threads: int = 0,
    cache_dir: Path | None = None,
    state_dir: Path | None = None,
    trusted_keys: Sequence[PublicKey] = (),
    left_out: Mapping[str, str] | None = None,
    announce: Callable[[Placement], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> LoadedModels:
    """Open, verify, compile and self-check the bundles, each on the first devices that can.

    Args:
        folders: bundle folders; the first one that serves a task serves it.
        device: a device to prefer, or "AUTO": what was measured as the best, else GPU before CPU. The CPU is always the
            last resort.
        text_device: a device to prefer for the text side; None for the same one.
        threads: CPU threads; 0 lets OpenVINO decide.
        cache_dir: folder for compiled graphs, or None.
        state_dir: folder of what `edge-app bench --tune` measured, or None.
        trusted_keys: one of them must have signed each bundle; none: any bundle will do.
        left_out: device -> why it is not to be tried, as a sentence.
        announce: is told what is tried next, before it is: a device can hang or end this process.
        tell: is told each step before it begins, as part of a sentence: who watches allows each its time.

    Raises:
        BundleError: a bundle is missing, changed, not signed as asked or does not fit.
        DeviceError: no device computes the golden sample, the CPU included.
    """
    bundles = []
    for folder in folders:
        tell(f"checking the files of {folder}")
        bundles.append(open_bundle(Path(folder), trusted_keys=trusted_keys))
    available = core().available_devices
    fallbacks = [
        f"{name} was asked for, but OpenVINO finds only {', '.join(available)} on this machine."
        for name in dict.fromkeys((device, text_device))
        if name not in ("AUTO", None) and not is_present(name, available)
    ]
    for sentence in fallbacks:
        log.warning("device not found reason=%r", sentence)
    models = []
    refused: dict[str, str] = {}
    barred, is_auto = left_out or {}, (device, text_device) == ("AUTO", None)
    choices: dict[str, Choice] = {}
    unmeasured: list[str] = []
    for bundle in bundles:
        wanted = placements(device, text_device, available)
        if is_auto and state_dir is not None:
            choice, problem = find_choice(state_dir, bundle)
            if choice is not None:
                choices[bundle.hash] = choice
                wanted = list(dict.fromkeys([choice.placement, *wanted]))
            elif measurable(available):
                unmeasured.append(str(bundle.path))
            if problem:
                fallbacks.append(problem)
                log.warning("choice of devices not used reason=%r", problem)
        fallbacks += [barred[name] for name in barred if any(name in placement.devices for placement in wanted)]
        allowed = [placement for placement in wanted if placement.devices.isdisjoint(barred)]
        model, reasons = _load_first(bundle, allowed, threads, cache_dir, announce=announce, tell=tell)
        models.append(model)
        fallbacks += reasons.values()
        refused |= {name: reason for placement, reason in reasons.items() for name in placement.devices}
    keep_working_memory()
    # While a device is left out or refused, what it takes cannot be measured.
    worth = () if barred or refused else tuple(unmeasured)
    return LoadedModels(tuple(models), device, tuple(dict.fromkeys(fallbacks)), refused, choices, worth, is_auto)


def _load_first(
    bundle: Bundle,
    wanted: Sequence[Placement],
    threads: int,
    cache_dir: Path | None,
    *,
    announce: Callable[[Placement], None],
    tell: Callable[[str], None],
) -> tuple[VisionLanguageModel, dict[Placement, str]]:
    """The bundle on the first devices that can run it, and why those before them cannot."""
    compilers: dict[str, Compiler] = {}  # shared, so that a fall-back compiles nothing twice
    reasons: dict[Placement, str] = {}
    for placement in wanted:
        announce(placement)
        try:
            return _load(bundle, placement, threads, cache_dir, compilers=compilers, tell=tell), reasons
        except DeviceError as error:
            reasons[placement] = str(error)
            log.warning("device refused device=%s reason=%s", placement, error)
    raise DeviceError("No device can run the model: " + " ".join(reasons.values()))


def _load(
    bundle: Bundle,
    placement: Placement,
    threads: int,
    cache_dir: Path | None,
    *,
    compilers: dict[str, Compiler],
    tell: Callable[[str], None],
) -> VisionLanguageModel:
    started = time.monotonic()
    model = VisionLanguageModel(
        bundle,
        device=placement.picture,
        text_device=placement.text,
        threads=threads,
        cache_dir=cache_dir,
        compilers=compilers,
        tell=tell,
    )
    # A GPU compiles kernels for a shape when it first meets it, which is in these two.
    tell(f"computing the golden sample of {bundle.label} on {placement}")
    encoding = encode_golden(model)
    difference = verify(model, encoding)
    tell(f"warming up {bundle.label} on {placement}")
    warm_up(model, encoding)
    log.info(
        "model ready bundle=%s device=%s golden_difference=%.3f load_s=%.1f",
        bundle.manifest.name,
        placement,
        difference,
        time.monotonic() - started,
    )
    compiled = model.cache.folder.glob("*.blob") if model.cache else ()
    give_back([*bundle.path.glob("*.bin"), *compiled])
    return model
