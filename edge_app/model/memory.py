"""Memory that a loaded model does not need: the pages of its weight files, and what malloc keeps for later.

OpenVINO maps a `.bin` and copies its weights into the layout that its kernels read. From then on the file's pages are
only in the way: they count as memory of this process, and on a board of 4 GB they press others out. They are given
back, not unmapped: should a graph need them again, for a shape it has not seen, they come from the page cache or the
disk.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Collection
from pathlib import Path

MADV_DONTNEED = 4  # <sys/mman.h>

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
            log.info("pages not given back file=%s reason=%s", parts[5], os.strerror(ctypes.get_errno()))
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(0)
