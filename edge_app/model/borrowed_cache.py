"""Compiled graphs of a folder in which another process works: `doctor` or `bench` beside the service.

The other process alone may write there. What it has listed is linked into a folder of this process's own, which
OpenVINO may write to and which goes when this process ends; one that was killed leaves its folder to the next.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from edge_app.model.bundle import sha256_of_all

PREFIX = ".borrowed-"

log = logging.getLogger(__name__)


class BorrowedCache:
    """A folder of links, locked and there until nobody holds this object."""

    def __init__(self, folder: Path, hashes: Mapping[str, str]) -> None:
        """Link the files of `folder` that are as they were listed; OSError if this user may not.

        Args:
            folder: where the other process works.
            hashes: file name -> SHA-256, as that process has listed them.
        """
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder.parent))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        weakref.finalize(self, os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in hashes:
            with suppress(FileNotFoundError):  # gone since it was listed
                (self.folder / name).hardlink_to(folder / name)
        links = list(self.folder.iterdir())
        for link, digest in zip(links, sha256_of_all(links), strict=True):
            if digest != hashes[link.name]:
                link.unlink()
        log.info("compiled graphs borrowed folder=%s files=%d", folder, len(links))

    def list_written(self) -> None:
        """Do nothing: what this process writes goes with it."""


def remove_leftovers(cache_dir: Path) -> None:
    """Remove the folders of processes that were killed; OSError if the cache cannot be read."""
    for folder in cache_dir.glob(f"{PREFIX}*"):
        with suppress(OSError):  # in use, or just gone
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
