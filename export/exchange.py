"""Two paths change places in one step of the kernel: at no moment is there nothing at either."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

AT_FDCWD = -100  # paths are relative to the working folder, as everywhere
RENAME_EXCHANGE = 2  # of linux/fs.h
_REFUSED = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # by file systems such as NFS, or by an old kernel


def exchange(first: Path, second: Path) -> bool:
    """Let two paths of one file system change places; False where the system cannot do it and nothing has changed.

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
