"""Resizing in strips; that pixels are those of the checkpoint's processor is told by test_parity.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_app.model import image as image_module
from edge_app.model.image import resize
from edge_app.model.manifest import ImageSpec
from tests.processes import running


def spec(height_px: int, width_px: int, resampling: str = "bicubic") -> ImageSpec:
    return ImageSpec.model_validate(
        {
            "height_px": height_px,
            "width_px": width_px,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "resampling": resampling,
            "prefix_positions": 1,
            "patch_rows": 1,
            "patch_columns": 1,
        }
    )


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 900)),
    new_size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    resampling=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
    cores=st.integers(1, 9),
)
@example(size=(720, 1280), new_size=(384, 384), resampling="bicubic", cores=4)
@example(size=(1080, 1920), new_size=(384, 384), resampling="bicubic", cores=2)
@example(size=(480, 640), new_size=(320, 320), resampling="bicubic", cores=3)
@example(size=(384, 640), new_size=(384, 384), resampling="bicubic", cores=4)  # only columns are fewer
@example(size=(2, 900), new_size=(384, 384), resampling="bicubic", cores=4)  # fewer rows than strips
def test_strips_give_the_very_bytes_of_a_single_resizing(
    *, size: tuple[int, int], new_size: tuple[int, int], resampling: str, cores: int
) -> None:
    """For any size, filter and number of cores."""
    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize(new_size[::-1], Image.Resampling[resampling.upper()]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
        image_module._strips.cache_clear()
        np.testing.assert_array_equal(resize(image, spec(*new_size, resampling)), expected)


def test_a_camera_frame_is_resized_by_all_cores_where_that_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to MOST_STRIPS; a tiny picture is not worth it, and one whose bytes would differ is resized as one."""
    for cores, strips in ((1, 1), (2, 2), (3, 3), (64, image_module.MOST_STRIPS)):
        assert _strips_with(cores, (720, 1280), monkeypatch) == strips
    assert _strips_with(4, (720, 40), monkeypatch) == 1
    other = image_module._resize_in_strips(np.zeros((64, 64, 3), np.uint8), (384, 384), "bicubic", 1)
    monkeypatch.setattr(image_module, "_resize_in_strips", lambda _image, _size, _filter, strips: other + (strips > 1))
    assert _strips_with(4, (720, 1280), monkeypatch) == 1


def _strips_with(cores: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    image_module._strips.cache_clear()
    return image_module._strips(size, (384, 384), "bicubic")


@pytest.fixture(autouse=True)
def ask_pillow_anew() -> Iterator[None]:
    """What was learnt with another number of cores, or from a stand-in, is forgotten."""
    yield
    image_module._strips.cache_clear()


def test_process_ends_after_ctrl_c_at_the_start_of_a_resizing_thread() -> None:
    """Python waits at exit for every thread that was started, also for one that nobody was told of."""
    with running("-c", CTRL_C_AT_THE_START_OF_A_THREAD) as process:
        output, error = process.communicate(timeout=60)
    assert (output, error, process.returncode) == ("interrupted\n", "", 0)


CTRL_C_AT_THE_START_OF_A_THREAD = """
import threading
import numpy as np
from edge_app.model.image import _resize_in_strips

class Thread(threading.Thread):
    def start(self):
        super().start()
        raise KeyboardInterrupt

threading.Thread = Thread
try:
    _resize_in_strips(np.zeros((720, 1280, 3), np.uint8), (384, 384), "bicubic", 2)
except KeyboardInterrupt:
    print("interrupted")
"""
