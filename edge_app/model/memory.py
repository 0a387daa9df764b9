"""Memory of a loaded model: what it does not need is given back, what each inference needs is kept.

OpenVINO maps a `.bin` and copies its weights into the layout that its kernels read. From then on the file's pages are
only in the way: they count as memory of this process, and on a board of 4 GB they press others out. They are given
back, not unmapped: should a graph need them again, for a shape it has not seen, they come from the page cache or the
disk.

OpenVINO's CPU plugin takes a graph's working memory from malloc at each inference and frees it afterwards. From 32 MiB
on glibc hands such a block straight to the kernel and back, mallopt(3), and the next inference pays for its pages
anew: those of BLIP-base's image keys and values, 42 MB, cost as long to get as what is written there costs to compute.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Collection
from pathlib import Path

MADV_DONTNEED = 4  # <sys/mman.h>
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEPT_BYTES = 256 << 20  # the largest working memory that is kept; BLIP-base's takes 42 MB, BLIP-large's 84

log = logging.getLogger(__name__)


def give_back(files: Collection[Path]) -> None:
    """Drop this process's pages of mapped, unwritten `files`, and return free heap memory to the system.

    Only memory is at stake, so a system that refuses is logged and no error.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    names = {str(path.resolve()) for path in files}
    for line in Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        # start-end rights offset device inode path (proc(5)); a path may contain blanks
        parts = line.split(maxsplit=5)
        if len(parts) < 6 or parts[5] not in names or "w" in parts[1]:
            continue
        start, end = (int(address, 16) for address in parts[0].split("-"))
        if libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED) != 0:
            log.info("pages not given back file=%s reason=%r", parts[5], os.strerror(ctypes.get_errno()))
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(0)


def keep_working_memory() -> None:
    """From now on keep freed heap memory, up to KEPT_BYTES, for the next inference.

    For after loading: what loading frees is better given back. Only time is at stake, so a C library that knows no
    such thing, or refuses, is logged and no error.
    """
    libc = ctypes.CDLL(None)
    settings = {M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES}
    if not hasattr(libc, "mallopt") or not all(libc.mallopt(name, value) for name, value in settings.items()):
        log.info("working memory is not kept between inferences reason=%r", "the C library offers no such setting")
