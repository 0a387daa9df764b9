"""Newest frame wins: one camera process writes, any number of processes read, nobody waits.

The frames live in an anonymous shared memory file (memfd). It has no name to unlink, so a `kill -9` of any
process leaves nothing behind, and its pages cost nothing until a frame touches them. The layout, all integers
and floats 8 bytes wide in native order:

    page 0            magic, capacity, newest frame_id, heart-beat
    then 3 slots of   one page: sequence, frame_id, ts, captured_s, width_px, height_px, change
                      pixels: up to 3840 * 2160 * 3 bytes of BGR

Frame n goes to slot n % 3 and is announced, by storing n as the newest frame_id, only when it is complete.
Each slot is guarded by a sequence lock: odd while the writer is inside, and different after every write. A reader
copies the pixels out and keeps the copy only if the sequence is even and the same before and after. A writer
killed inside a slot therefore harms nothing: the newest frame_id still names an older, whole frame, and the next
writer begins with the very slot that was left half written.

The order of the stores is what makes this sound. CPython stores an aligned 8-byte item with one instruction, and
x86 keeps stores in order (the wide copies of the C library end with a fence); on a CPU with a weaker order the
lock would need barriers that Python does not offer.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # NumPy is only imported where pixels move: the service process reads nothing but FrameInfo.
    import numpy as np
    from numpy.typing import NDArray

SLOTS = 3
CAPACITY_PX = 3840 * 2160  # pixels of one slot: a 4K frame, 23.7 MiB as BGR
PAGE_BYTES = 4096
SLOT_BYTES = PAGE_BYTES + 3 * CAPACITY_PX
TOTAL_BYTES = PAGE_BYTES + SLOTS * SLOT_BYTES  # 71.2 MiB of addresses, not of memory

MAGIC = int.from_bytes(b"EdgeFrm1", "little")
READ_ATTEMPTS = 64  # a retry needs a writer that laps the reader: two frames within one copy (about 1 ms)

# Indices of 8-byte items within page 0.
_MAGIC, _CAPACITY, _NEWEST, _BEAT = range(4)
# Indices of 8-byte items within a slot's first page.
_SEQUENCE, _FRAME_ID, _TS, _CAPTURED, _WIDTH, _HEIGHT, _CHANGE = range(7)


@dataclass(frozen=True)
class FrameInfo:
    """What is known of a frame without its pixels."""

    frame_id: int
    """1, 2, ...: grows by one a frame, also across restarts of the camera process."""
    ts: float
    """Unix time of capture in seconds, UTC; for publication only."""
    captured_s: float
    """Time of capture by `time.monotonic()`, which all processes of a Linux system share."""
    width_px: int
    height_px: int
    change: int = 0
    """Number of the picture's last change up to this frame (`edge_app.gate_meter`)."""


@dataclass(frozen=True)
class Frame:
    """A frame and a private copy of its pixels."""

    info: FrameInfo
    image: NDArray[np.uint8]
    """[H, W, 3], BGR."""


class FrameBuffer:
    """Three frame slots in shared memory; one process writes at a time, any number read."""

    def __init__(self, fd: int, *, owns_fd: bool) -> None:
        self.fd = fd
        self._owns_fd = owns_fd
        self._map = mmap.mmap(fd, TOTAL_BYTES)
        whole = memoryview(self._map)
        pages = [whole[:PAGE_BYTES]]
        for slot in range(SLOTS):
            start = PAGE_BYTES + slot * SLOT_BYTES
            pages.append(whole[start : start + PAGE_BYTES])
        self._integers = [page.cast("Q") for page in pages]  # index 0: page 0; 1 + slot: that slot's first page
        self._floats = [page.cast("d") for page in pages]
        self._views: list[memoryview[Any]] = [*self._integers, *self._floats, *pages, whole]

    @classmethod
    def create(cls, name: str) -> FrameBuffer:
        """Make an empty buffer; `name` is only a label in `/proc/PID/maps`. OSError when memory is refused."""
        fd = os.memfd_create(f"edge_app.frames.{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, TOTAL_BYTES)
        # With the size sealed, no child can shrink the file and so kill its readers with SIGBUS.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        buffer = cls(fd, owns_fd=True)
        page = buffer._integers[0]
        page[_CAPACITY] = CAPACITY_PX
        page[_MAGIC] = MAGIC
        return buffer

    @classmethod
    def attach(cls, fd: int) -> FrameBuffer:
        """Map the buffer behind `fd`, which stays the caller's. ValueError if it is not a frame buffer."""
        size_bytes = os.fstat(fd).st_size
        if size_bytes != TOTAL_BYTES:
            raise ValueError(
                f"Descriptor {fd} holds {size_bytes} bytes and a frame buffer has {TOTAL_BYTES}; "
                "pass the descriptor of a FrameBuffer made by the same version."
            )
        buffer = cls(fd, owns_fd=False)
        page = buffer._integers[0]
        if (page[_MAGIC], page[_CAPACITY]) != (MAGIC, CAPACITY_PX):
            buffer.close()
            raise ValueError(f"Descriptor {fd} is not a frame buffer: its first bytes are foreign.")
        return buffer

    def write(self, image: NDArray[np.uint8], *, ts: float, captured_s: float, change: int = 0) -> int:
        """Publish `image` [H, W, 3] BGR as the newest frame and return its frame_id.

        A picture of more pixels than a 4K frame is reduced to fit. ValueError for anything that is not a picture.
        """
        import numpy as np

        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(
                f"A frame must be uint8 [H, W, 3] and not empty, but it is {image.dtype} {list(image.shape)}."
            )
        image = _fitted(image)
        height_px, width_px = image.shape[:2]

        frame_id = self._integers[0][_NEWEST] + 1
        slot = frame_id % SLOTS
        integers, floats = self._integers[1 + slot], self._floats[1 + slot]
        # Odd: readers keep out. After a killed writer it is odd already and must still change.
        writing = (integers[_SEQUENCE] + 1) | 1
        integers[_SEQUENCE] = writing
        integers[_FRAME_ID] = frame_id
        integers[_WIDTH], integers[_HEIGHT] = width_px, height_px
        integers[_CHANGE] = change
        floats[_TS], floats[_CAPTURED] = ts, captured_s
        pixels = self._pixels(slot, height_px, width_px)
        np.copyto(pixels, image)
        integers[_SEQUENCE] = writing + 1
        self._integers[0][_NEWEST] = frame_id
        return frame_id

    def latest(self) -> Frame | None:
        """Copy the newest whole frame out, or return None if there is none yet. Never waits for the writer."""
        for _ in range(READ_ATTEMPTS):
            found = self._newest()
            if found is None:
                continue
            slot, sequence, info = found
            if info is None:
                return None
            image = self._pixels(slot, info.height_px, info.width_px).copy()
            if self._integers[1 + slot][_SEQUENCE] == sequence:
                return Frame(info, image)
        return None

    def latest_info(self) -> FrameInfo | None:
        """Describe the newest whole frame without touching its pixels, or return None if there is none yet."""
        for _ in range(READ_ATTEMPTS):
            found = self._newest()
            if found is not None:
                return found[2]
        return None

    def beat(self, now_s: float) -> None:
        """Note that the writer is alive at `now_s` (monotonic), whether or not it has a frame to show for it.

        A time to come says that nothing is to be expected before it; 0.0 makes the buffer forget the last writer.
        """
        self._floats[0][_BEAT] = now_s

    def last_beat_s(self) -> float:
        """When the writer last called `beat`, by `time.monotonic()`; 0.0 if it never did."""
        return self._floats[0][_BEAT]

    def close(self) -> None:
        """Unmap, and close the descriptor if this object made it; harmless when repeated."""
        if self._map.closed:
            return
        for view in self._views:
            view.release()
        self._map.close()
        if self._owns_fd:
            os.close(self.fd)

    def _newest(self) -> tuple[int, int, FrameInfo | None] | None:
        """Return (slot, sequence, info) of the newest frame, info None before the first; None: caught in a write."""
        newest = self._integers[0][_NEWEST]
        if newest == 0:
            return 0, 0, None
        slot = newest % SLOTS
        integers, floats = self._integers[1 + slot], self._floats[1 + slot]
        sequence = integers[_SEQUENCE]
        info = FrameInfo(
            integers[_FRAME_ID],
            floats[_TS],
            floats[_CAPTURED],
            integers[_WIDTH],
            integers[_HEIGHT],
            integers[_CHANGE],
        )
        # Unchanged and even: all the fields just read belong together.
        if sequence % 2 == 1 or integers[_SEQUENCE] != sequence:
            return None
        # The writer decodes what strangers send it, so its word for the size is checked before it is used.
        if not 0 < info.width_px * info.height_px <= CAPACITY_PX or not math.isfinite(info.captured_s + info.ts):
            return None
        return slot, sequence, info

    def _pixels(self, slot: int, height_px: int, width_px: int) -> NDArray[np.uint8]:
        """View a slot's pixels as [height_px, width_px, 3]; the view must not outlive the call that asked for it."""
        import numpy as np

        start = PAGE_BYTES + slot * SLOT_BYTES + PAGE_BYTES
        flat = np.frombuffer(self._map, np.uint8, count=height_px * width_px * 3, offset=start)
        return flat.reshape(height_px, width_px, 3)


def _fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce `image` [H, W, 3] so that it has at most CAPACITY_PX pixels; smaller ones are returned as they are."""
    import numpy as np

    height_px, width_px = image.shape[:2]
    if height_px * width_px <= CAPACITY_PX:
        return image
    import cv2

    scale = math.sqrt(CAPACITY_PX / (height_px * width_px))
    # Rounding down keeps the product within the capacity; a strip one pixel high stays one pixel high.
    new_height_px = max(1, int(height_px * scale))
    new_width_px = max(1, min(int(width_px * scale), CAPACITY_PX // new_height_px))
    reduced = cv2.resize(image, (new_width_px, new_height_px), interpolation=cv2.INTER_AREA)
    return np.asarray(reduced, dtype=np.uint8)
