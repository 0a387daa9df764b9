"""Bundles become models on the best device that computes them rightly.

A device is taken when it compiles every graph and reproduces the golden sample; else the next one is tried, and what
went wrong is kept so that it can be said aloud (log, `info` topic, overlay): a silent fall-back to the CPU leaves a
board far slower than planned, and nobody knows why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openvino as ov

from edge_app.errors import BundleError, DeviceError
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.device import candidates, core
from edge_app.model.golden import verify, warm_up
from edge_app.model.manifest import Task
from edge_app.model.memory import give_back, keep_working_memory
from edge_app.model.precision import in_words
from edge_app.model.vlm import VisionLanguageModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModels:
    """Models ready to serve.

    Attributes:
        models: one a bundle, in the order they were named.
        requested: the device asked for.
        fallbacks: a sentence for each device that was tried and not taken.
    """

    models: tuple[VisionLanguageModel, ...]
    requested: str
    fallbacks: tuple[str, ...]

    def serving(self, task: Task) -> VisionLanguageModel:
        """The first model that serves `task`; raises BundleError when none does."""
        for model in self.models:
            if task in model.manifest.tasks:
                return model
        names = ", ".join(model.manifest.name for model in self.models)
        raise BundleError(f"None of the bundles ({names}) serves {task}; add one exported with --task {task}.")

    @property
    def device(self) -> str:
        """The device the models run on, e.g. `CPU`."""
        return self.models[0].device

    def info(self) -> dict[str, Any]:
        """What the `info` topic tells of the models."""
        return {
            "bundles": [
                {
                    "name": model.manifest.name,
                    "hash": model.bundle.hash,
                    "family": model.manifest.family,
                    "precision": in_words(model.manifest),
                    "tasks": list(model.manifest.tasks),
                }
                for model in self.models
            ],
            "requested_device": self.requested,
            "device": self.device,
            "fallbacks": list(self.fallbacks),
            "stages": {role: model.device for model in self.models for role in model.manifest.roles},
            "openvino": ov.get_version(),
        }


def load_models(
    folders: Sequence[Path], *, device: str = "AUTO", threads: int = 0, cache_dir: Path | None = None
) -> LoadedModels:
    """Open, verify, compile and self-check the bundles, all on one device.

    Args:
        folders: bundle folders; the first one that serves a task serves it.
        device: "AUTO" (GPU before CPU), or a device to prefer; the CPU is always the last resort.
        threads: CPU threads; 0 lets OpenVINO decide.
        cache_dir: folder for compiled graphs, or None.

    Raises:
        BundleError: a bundle is missing, changed or does not fit.
        DeviceError: no device computes the golden sample, the CPU included.
    """
    bundles = [open_bundle(Path(folder)) for folder in folders]
    fallbacks: list[str] = []
    available = core().available_devices
    names = candidates(device, available)
    if device not in ("AUTO", *names):
        fallbacks.append(f"{device} was asked for, but OpenVINO finds only {', '.join(available)} on this machine.")
        log.warning("%s", fallbacks[-1])
    for name in names:
        try:
            models = tuple(_load(bundle, name, threads, cache_dir) for bundle in bundles)
        except DeviceError as error:
            fallbacks.append(str(error))
            log.warning("device refused device=%s reason=%s", name, error)
            continue
        keep_working_memory()
        return LoadedModels(models, device, tuple(fallbacks))
    raise DeviceError("No device can run the model: " + " ".join(fallbacks))


def _load(bundle: Bundle, device: str, threads: int, cache_dir: Path | None) -> VisionLanguageModel:
    started = time.monotonic()
    model = VisionLanguageModel(bundle, device=device, threads=threads, cache_dir=cache_dir)
    difference = verify(model)
    warm_up(model)
    log.info(
        "model ready bundle=%s device=%s golden_difference=%.3f load_s=%.1f",
        bundle.manifest.name,
        device,
        difference,
        time.monotonic() - started,
    )
    compiled = cache_dir.glob("*.blob") if cache_dir else ()
    give_back([*bundle.path.glob("*.bin"), *compiled])
    return model
