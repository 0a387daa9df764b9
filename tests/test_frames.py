"""Frames through shared memory: the newest wins, none is torn, and a killed writer harms nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.frames import CAPACITY_PX, READ_ATTEMPTS, TOTAL_BYTES, FrameBuffer
from tests.broker import wait_until

Picture = NDArray[np.uint8]

# Writes frames that each hold one single value, their number modulo 251, with a given pause between them.
FAST_WRITER = """
import sys, time
import numpy as np
from edge_app.frames import FrameBuffer
frames = FrameBuffer.attach(int(sys.argv[1]))
image = np.empty((480, 640, 3), np.uint8)
info = frames.latest_info()
number = info.frame_id if info else 0
while True:
    number += 1
    image.fill(number % 251)
    assert frames.write(image, ts=float(number), captured_s=2.0 * number) == number
    if float(sys.argv[2]):
        time.sleep(float(sys.argv[2]))
"""

# Begins a frame, fills half of it, and waits there to be killed.
HALF_WRITER = """
import sys, signal
import numpy as np
from edge_app import frames
def half_a_copy(pixels, image):
    pixels[: len(pixels) // 2] = image[: len(pixels) // 2]
    print("inside", flush=True)
    signal.pause()
np.copyto = half_a_copy
frames.FrameBuffer.attach(int(sys.argv[1])).write(np.full((480, 640, 3), 255, np.uint8), ts=0.0, captured_s=0.0)
"""


@pytest.fixture
def buffer() -> Iterator[FrameBuffer]:
    made = FrameBuffer.create("test")
    yield made
    made.close()


def filled(value: int, height_px: int = 480, width_px: int = 640) -> Picture:
    return np.full((height_px, width_px, 3), value, np.uint8)


def start(program: str, buffer: FrameBuffer, pause_s: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(buffer.fd), str(pause_s)]
    return subprocess.Popen(command, pass_fds=[buffer.fd], stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def newest_id(buffer: FrameBuffer) -> int:
    info = buffer.latest_info()
    return info.frame_id if info else 0


def wait_for_frame(buffer: FrameBuffer, frame_id: int) -> None:
    wait_until(lambda: newest_id(buffer) >= frame_id, f"frame {frame_id}")


def test_empty_buffer_has_no_frame(buffer: FrameBuffer) -> None:
    """Before the first frame there is None, not a picture of zeros."""
    assert buffer.latest() is None
    assert buffer.latest_info() is None


def test_newest_frame_wins(buffer: FrameBuffer) -> None:
    """A reader gets the last frame written, with its times and size, and never an older one."""
    for value in range(1, 6):
        assert buffer.write(filled(value, 20 + value, 30), ts=1000.0 + value, captured_s=float(value)) == value
    frame = buffer.latest()
    assert frame is not None
    assert frame.info == buffer.latest_info()
    info = frame.info
    assert (info.frame_id, info.ts, info.captured_s, info.width_px, info.height_px) == (5, 1005.0, 5.0, 30, 25)
    assert (frame.image == filled(5, 25, 30)).all()


def test_returned_picture_is_a_private_copy(buffer: FrameBuffer) -> None:
    """Later frames leave a picture that was handed out alone, also when its slot is used again."""
    buffer.write(filled(1), ts=0.0, captured_s=0.0)
    frame = buffer.latest()
    for value in range(2, 8):
        buffer.write(filled(value), ts=0.0, captured_s=0.0)
    assert frame is not None
    assert (frame.image == 1).all()


@pytest.mark.parametrize(("pause_s", "least_seen"), [(0.0, 10), (0.0005, 200)])
def test_no_torn_frame_under_a_fast_writer(buffer: FrameBuffer, pause_s: float, least_seen: int) -> None:
    """Every pixel of a frame, and its description, are of one and the same write, however fast the writer is.

    Without a pause the writer laps most copies, so that nearly all of them must be thrown away.
    """
    writer = start(FAST_WRITER, buffer, pause_s)
    try:
        wait_until(buffer.latest_info, "the writer begins")
        seen: set[int] = set()
        deadline_s = time.monotonic() + 20
        while len(seen) < least_seen and time.monotonic() < deadline_s:
            frame = buffer.latest()
            if frame is None:  # every attempt was overtaken
                continue
            number = frame.info.frame_id
            seen.add(number)
            assert (frame.info.ts, frame.info.captured_s) == (float(number), 2.0 * number)
            assert int(frame.image.min()) == int(frame.image.max()) == number % 251
    finally:
        kill(writer)
    assert len(seen) >= least_seen


def test_killed_in_the_middle_of_a_write(buffer: FrameBuffer) -> None:
    """After kill -9 inside a frame the reader still gets the one before, at once, and the next writer goes on."""
    assert buffer.write(filled(7), ts=1.0, captured_s=1.0) == 1
    writer = start(HALF_WRITER, buffer)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "inside\n"
    kill(writer)
    started_s = time.monotonic()
    frame = buffer.latest()
    assert time.monotonic() - started_s < 0.5
    assert frame is not None
    assert frame.info.frame_id == 1
    assert (frame.image == 7).all()
    for frame_id in (2, 3, 4, 5):
        assert buffer.write(filled(frame_id), ts=0.0, captured_s=0.0) == frame_id
        newest = buffer.latest()
        assert newest is not None
        assert (newest.image == frame_id).all()


def test_frame_ids_go_on_through_restarts_of_the_writer(buffer: FrameBuffer) -> None:
    """A new writer continues to count where the killed one stopped (the writer itself asserts it)."""
    for _ in range(5):
        wanted = newest_id(buffer) + 50
        writer = start(FAST_WRITER, buffer)
        wait_for_frame(buffer, wanted)
        assert writer.poll() is None
        kill(writer)


def test_reader_gives_up_when_always_overtaken(buffer: FrameBuffer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that laps the reader within every single copy makes it return None; it never loops for ever."""
    pixels = FrameBuffer._pixels
    copies = 0

    def overtaken(self: FrameBuffer, slot: int, height_px: int, width_px: int) -> object:
        nonlocal copies
        copies += 1
        writer = FrameBuffer.attach(self.fd)
        view = pixels(self, slot, height_px, width_px)
        monkeypatch.setattr(FrameBuffer, "_pixels", pixels)
        for _ in range(3):
            writer.write(filled(9), ts=0.0, captured_s=0.0)
        monkeypatch.setattr(FrameBuffer, "_pixels", overtaken)
        return view

    buffer.write(filled(1), ts=0.0, captured_s=0.0)
    monkeypatch.setattr(FrameBuffer, "_pixels", overtaken)
    assert buffer.latest() is None
    assert copies == READ_ATTEMPTS


def test_memory_is_untouched_until_used() -> None:
    """A buffer costs a page or two until a frame needs more: 71 MiB of addresses are not memory."""
    buffer = FrameBuffer.create("sparse")
    used_bytes = os.fstat(buffer.fd).st_blocks * 512
    assert used_bytes <= 4 * 4096
    buffer.write(filled(1, 240, 320), ts=0.0, captured_s=0.0)
    used_bytes = os.fstat(buffer.fd).st_blocks * 512
    assert 240 * 320 * 3 <= used_bytes <= 240 * 320 * 3 + 8 * 4096
    assert os.fstat(buffer.fd).st_size == TOTAL_BYTES
    buffer.close()


def test_larger_picture_is_reduced_to_a_4k_frame(buffer: FrameBuffer) -> None:
    """8000x4500 px is more than a slot holds: the shape is kept, the pixels fit, the colour stays."""
    buffer.write(filled(123, 4500, 8000), ts=0.0, captured_s=0.0)
    frame = buffer.latest()
    assert frame is not None
    height_px, width_px = frame.image.shape[:2]
    assert 0.99 * CAPACITY_PX < height_px * width_px <= CAPACITY_PX
    assert width_px / height_px == pytest.approx(8000 / 4500, rel=0.001)
    assert (frame.image == 123).all()


@pytest.mark.parametrize("shape", [(2160, 3840), (3840, 2160), (1, 1), (1, CAPACITY_PX)])
def test_picture_of_up_to_a_4k_frame_is_kept_as_it_is(buffer: FrameBuffer, shape: tuple[int, int]) -> None:
    """Upright, flat or tiny: what fits goes through unchanged."""
    image = np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)
    buffer.write(image, ts=0.0, captured_s=0.0)
    frame = buffer.latest()
    assert frame is not None
    assert np.array_equal(frame.image, image)


@pytest.mark.parametrize(
    "image", [np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32)]
)
def test_what_is_no_picture_is_refused(buffer: FrameBuffer, image: Picture) -> None:
    """An empty, grey or floating-point array never becomes a frame."""
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\]"):
        buffer.write(image, ts=0.0, captured_s=0.0)
    assert buffer.latest() is None


def test_size_that_cannot_be_is_not_believed(buffer: FrameBuffer) -> None:
    """The camera process decodes what strangers send; a size beyond the slot in its header yields no frame."""
    buffer.write(filled(1), ts=0.0, captured_s=0.0)
    slot_page = buffer._integers[1 + 1]
    slot_page[4] = 2**40  # width_px
    assert buffer.latest() is None
    assert buffer.latest_info() is None


def test_child_cannot_shrink_the_buffer(buffer: FrameBuffer) -> None:
    """A truncated shared file would end every reader with SIGBUS: the size is sealed."""
    with pytest.raises(PermissionError):
        os.ftruncate(buffer.fd, 0)


def test_foreign_descriptor_is_refused() -> None:
    """Attaching to anything but a frame buffer is a clear error."""
    fd = os.memfd_create("foreign")
    try:
        with pytest.raises(ValueError, match="holds 0 bytes"):
            FrameBuffer.attach(fd)
        os.ftruncate(fd, TOTAL_BYTES)
        with pytest.raises(ValueError, match="not a frame buffer"):
            FrameBuffer.attach(fd)
    finally:
        os.close(fd)


def test_beat_is_shared_with_the_parent(buffer: FrameBuffer) -> None:
    """The writer's sign of life reaches the reader without a frame; before the first it is 0."""
    assert buffer.last_beat_s() == 0.0
    FrameBuffer.attach(buffer.fd).beat(123.5)
    assert buffer.last_beat_s() == 123.5


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_close_frees_the_descriptor() -> None:
    """A closed buffer leaves no descriptor behind, and closing twice is harmless."""
    before = open_fds()
    for _ in range(20):
        buffer = FrameBuffer.create("short")
        reader = FrameBuffer.attach(buffer.fd)
        buffer.write(filled(1), ts=0.0, captured_s=0.0)
        assert reader.latest() is not None
        reader.close()
        buffer.close()
        buffer.close()
    assert open_fds() == before
