"""The GPU plugin supports each property that the product passes, and takes its value."""

from __future__ import annotations

from pathlib import Path

import pytest
from openvino import properties

from edge_app.model.device import core
from tests.model.recorded_properties import OF_THE_CORE, by_device, recorded


@pytest.mark.parametrize("gpu_f32", [False, True])
@pytest.mark.parametrize("device", ["GPU", "HETERO:GPU,CPU"])
def test_each_property_is_supported_by_the_plugin_it_is_for(device: str, gpu_f32: bool, tmp_path: Path) -> None:
    """By the plugin's own list; compiling shows that it takes the values, which the list does not tell."""
    supported = {name: set(core().get_property(name, properties.supported_properties())) for name in ("CPU", "GPU")}
    for named, name, _ in by_device(device, recorded(device, tmp_path, is_compiled=True, gpu_f32=gpu_f32)):
        for part in named.rpartition(":")[2].split(","):  # HETERO hands to each what it does not know itself
            assert name in supported[part] | OF_THE_CORE, (part, name)
