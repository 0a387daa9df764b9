"""Properties are passed by their own types, to plugins that support them (on a GPU: tests/gpu/test_properties.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
from openvino import properties

from edge_app.model.device import core
from tests.model.recorded_properties import OF_THE_CORE, by_device, is_defined_so, recorded

DEVICES = ("CPU", "GPU", "HETERO:GPU,CPU")


@pytest.mark.parametrize("gpu_f32", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_each_value_is_of_the_type_that_openvino_defines(device: str, gpu_f32: bool, tmp_path: Path) -> None:
    """The CPU plugin takes an int for NUM_STREAMS and the GPU plugin refuses it: every board fell back to the CPU."""
    passed = list(by_device(device, recorded(device, tmp_path, is_compiled=False, gpu_f32=gpu_f32)))
    assert properties.num_streams() in {name for _, name, _ in passed}
    assert [(part, name, value) for part, name, value in passed if not is_defined_so(name, value)] == []


def test_an_int_is_no_number_of_streams() -> None:
    """The test above can fail."""
    assert not is_defined_so(properties.num_streams(), 1)


def test_cpu_supports_each_property(tmp_path: Path) -> None:
    """The plugin's own list has each name, and it compiles with them."""
    supported = set(core().get_property("CPU", properties.supported_properties()))
    passed = {name for _, name, _ in by_device("CPU", recorded("CPU", tmp_path, is_compiled=True))}
    assert properties.inference_num_threads() in passed
    assert passed - OF_THE_CORE <= supported
