"""A hidden folder to build in, beside what is built; one that a killed process left goes when the next one begins."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNFINISHED = ".unfinished"  # ends the names of such folders


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, which its name begins with; it is removed at the end of the block.

    Raises:
        OSError: it cannot be made.
    """
    _remove_leftovers(out)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", suffix=UNFINISHED, dir=out.parent))
    descriptor = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # until it is closed, or the process ends, however that happens
        yield work
    finally:
        _remove(work)
        os.close(descriptor)


def _remove_leftovers(out: Path) -> None:
    """Remove the folders of processes that have ended: nobody holds a lock on them."""
    for folder in out.parent.glob(f".{glob.escape(out.name)}-*{UNFINISHED}"):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # another process builds there
        else:
            _remove(folder)
        finally:
            os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove the folder `path`, or the link to one that took its place, if it is there."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
