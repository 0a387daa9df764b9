"""A finished folder takes the place of an older one; where the kernel can, there is no moment without either."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

AT_FDCWD = -100  # paths are relative to the working folder, as everywhere
RENAME_EXCHANGE = 2  # of linux/fs.h
_REFUSED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # by file systems such as NFS, or by an old kernel


def put_in_place(new: Path, out: Path) -> None:
    """Rename `new` to `out`, a name in the same folder; what was at `out` is at `new` afterwards.

    Raises:
        OSError: it could not be done; what was at `out` is there still.
    """
    if not out.exists():
        new.rename(out)
    elif not exchange(new, out):
        _exchange_in_steps(new, out)


def _exchange_in_steps(new: Path, out: Path) -> None:
    """For file systems without an exchange: for a moment nothing is at `out`; what was there comes back on failure."""
    old = new.with_name(f"{new.name}-old")
    shutil.rmtree(old, ignore_errors=True)  # of a writer that was killed here
    out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        old.rename(out)
        raise
    old.rename(new)


def exchange(first: Path, second: Path) -> bool:
    """Let two paths of one file system change places in one step; False where it cannot, and nothing has changed.

    Raises:
        OSError: the system can, but not these two paths.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):  # a C library older than glibc 2.28
        return False
    if libc.renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _REFUSED:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))
