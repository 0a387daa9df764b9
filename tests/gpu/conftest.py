"""What tests of the GPU share: the emulated device, a cache of compiled kernels, the demo's bundle on GPU and CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edge_app.demo.service import bundle_path
from edge_app.model.loading import LoadedModels, load_models
from edge_app.model.vlm import VisionLanguageModel
from tests.gpu.emulation import why_not
from tests.kept import compiled_folder


@pytest.fixture(scope="session", autouse=True)
def emulated_gpu() -> None:
    """Skip every test of this folder where there is no emulated GPU; fail there in CI, which is to have one."""
    if reason := why_not():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def cache() -> Path:
    """Compiled kernels, kept for all tests of this and of later runs: the first load of the demo takes minutes."""
    return compiled_folder("gpu")


@pytest.fixture(scope="session")
def strict_cache() -> Path:
    """The same of programs that are built with other options, which the plugin knows nothing of."""
    return compiled_folder("gpu-strict")


@pytest.fixture(scope="session")
def loaded(cache: Path) -> LoadedModels:
    """The demo's bundle, asked for on the GPU."""
    return load_models([bundle_path()], device="GPU", cache_dir=cache)


@pytest.fixture(scope="session")
def on_cpu() -> VisionLanguageModel:
    """The demo's bundle on the CPU."""
    return load_models([bundle_path()], device="CPU").models[0]
