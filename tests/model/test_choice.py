"""The devices that were measured as the best: used where they hold, told where they do not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import openvino as ov
import pytest

import edge_app.demo
from edge_app.errors import EdgeAppError
from edge_app.model.bundle import Bundle, open_bundle
from edge_app.model.choice import choice_path, read_choice, refuse_unwritable, write_choice
from edge_app.model.loading import load_models
from edge_app.model.placement import Placement

DEMO = Path(edge_app.demo.__file__).parent / "bundle"
SPLIT = Placement("CPU", "HETERO:CPU")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(DEMO)


def test_a_choice_is_read_as_it_was_written(tmp_path: Path, bundle: Bundle) -> None:
    """The newest counts, and no half-written file is left."""
    write_choice(tmp_path, bundle, Placement("CPU", "CPU"))
    path = write_choice(tmp_path, bundle, SPLIT)
    assert read_choice(tmp_path, bundle) == (SPLIT, None)
    assert list(tmp_path.iterdir()) == [path]


def test_a_choice_keeps_what_was_better_in_f32(tmp_path: Path, bundle: Bundle) -> None:
    """And a file of a version that knew of no precision goes on being read: nothing is in FP32 then."""
    chosen = dataclasses.replace(SPLIT, f32=frozenset({"vision"}))
    path = write_choice(tmp_path, bundle, chosen)
    assert read_choice(tmp_path, bundle) == (chosen, None)
    earlier = json.loads(path.read_text())
    assert earlier.pop("gpu_f32") == ["vision"]
    path.write_text(json.dumps(earlier))
    assert read_choice(tmp_path, bundle) == (SPLIT, None)


def test_without_a_choice_nothing_is_said(tmp_path: Path, bundle: Bundle) -> None:
    """Most machines have measured nothing; another bundle's choice is not this one's either."""
    (tmp_path / "file").touch()
    for nowhere in ("nowhere", "file"):
        assert read_choice(tmp_path / nowhere, bundle) == (None, None)
    write_choice(tmp_path, bundle, SPLIT)
    assert read_choice(tmp_path, dataclasses.replace(bundle, hash="0" * 64)) == (None, None)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"bundle_hash": "0" * 64}, "they are of another bundle (000000000000)"),
        ({"openvino": "2025.0.0"}, "they were measured with OpenVINO 2025.0.0, and this is"),
        ({"devices": {"CPU": "486", "GPU": "Voodoo"}}, "this machine had CPU (486), GPU (Voodoo) then, and has CPU"),
        ({"text": "GPU"}, "OpenVINO does not find GPU"),
    ],
)
def test_a_choice_that_holds_no_more_is_told_and_not_used(
    tmp_path: Path, bundle: Bundle, changed: dict[str, Any], reason: str
) -> None:
    """Another bundle, another OpenVINO, other devices: measured under other conditions."""
    path = write_choice(tmp_path, bundle, SPLIT)
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    placement, problem = read_choice(tmp_path, bundle)
    assert placement is None
    assert problem is not None and reason in problem and "measure again with `edge-app bench --tune`" in problem


def test_a_folder_that_no_machine_can_have_is_told(bundle: Bundle) -> None:
    """A sentence, and the service runs."""
    placement, problem = read_choice(Path("a\0b"), bundle)
    assert placement is None and problem is not None and "name another state folder" in problem


def test_a_device_that_does_not_tell_its_name_is_no_crash(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that is broken: the choice is told to hold no more, and the CPU serves."""
    write_choice(tmp_path, bundle, SPLIT)

    def broken(*_: object) -> str:
        raise RuntimeError("clGetDeviceInfo failed")

    monkeypatch.setattr(ov.Core, "get_property", broken)
    placement, problem = read_choice(tmp_path, bundle)
    assert placement is None and problem is not None and "has CPU (does not tell its name) now" in problem


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b'{"v": 2}', b'{"v": 1, "picture": 3}'])
def test_a_file_that_holds_no_choice_is_told(tmp_path: Path, bundle: Bundle, content: bytes) -> None:
    """Cut short, no JSON, another version: a sentence with the path, no crash."""
    path = choice_path(tmp_path, bundle)
    path.write_bytes(content)
    assert read_choice(tmp_path, bundle) == (
        None,
        f"{path} does not hold measured devices, so it is not used; measure again with `edge-app bench --tune`.",
    )


def test_auto_obeys_the_choice_and_a_named_device_does_not(tmp_path: Path, bundle: Bundle) -> None:
    """AUTO means what was measured; who names a device knows better."""
    write_choice(tmp_path, bundle, SPLIT)
    assert load_models([DEMO], threads=1, state_dir=tmp_path).models[0].placement == SPLIT
    for device, text_device in (("CPU", None), ("AUTO", "CPU")):
        loaded = load_models([DEMO], device=device, text_device=text_device, threads=1, state_dir=tmp_path)
        assert (str(loaded.models[0].placement), loaded.fallbacks) == ("CPU", ())


def test_auto_without_a_choice_that_holds_is_auto_as_ever(tmp_path: Path, bundle: Bundle) -> None:
    """GPU before CPU, and the reason is among the fallbacks, so `info` and the overlay tell it."""
    choice_path(tmp_path, bundle).write_text("garbage")
    loaded = load_models([DEMO], threads=1, state_dir=tmp_path)
    assert str(loaded.models[0].placement) == "CPU"
    assert "does not hold measured devices" in loaded.fallbacks[0]


def test_a_chosen_device_that_fails_now_is_left_for_the_next(tmp_path: Path, bundle: Bundle) -> None:
    """BATCH:CPU is there and refuses our settings: the CPU serves, and it is told."""
    write_choice(tmp_path, bundle, Placement("CPU", "BATCH:CPU"))
    loaded = load_models([DEMO], threads=1, state_dir=tmp_path)
    assert str(loaded.models[0].placement) == "CPU"
    assert "for BATCH:CPU" in loaded.fallbacks[0]


def test_a_folder_that_cannot_be_written_is_refused_before_measuring(tmp_path: Path) -> None:
    """A sentence that says where, and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(EdgeAppError, match=r"cannot be written to .*file/state .*--state-dir"):
        refuse_unwritable(tmp_path / "file" / "state")


def test_a_choice_that_cannot_be_written_leaves_nothing(tmp_path: Path, bundle: Bundle) -> None:
    """On a disk that is full a half-written file would be one more that is never taken away."""
    choice_path(tmp_path, bundle).mkdir()
    with pytest.raises(EdgeAppError, match="cannot be written"):
        write_choice(tmp_path, bundle, SPLIT)
    assert [path.name for path in tmp_path.iterdir()] == [choice_path(tmp_path, bundle).name]
