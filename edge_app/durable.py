"""Files that survive a power cut: whole, as they were or as they are to be."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a file of UTF-8 in place of what `path` is, and bring it to the disk; its folder is made if needed.

    Raises OSError when the disk takes nothing; then `path` is what it was, and no part is left. Written by root, it
    belongs to the owner of its folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        give_to_owner_of(path.parent, part)
        part.replace(path)
        sync(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def sync(*paths: Path) -> None:
    """Bring files and folders to the disk. OSError."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def give_to_owner_of(folder: Path, *paths: Path) -> None:
    """What root makes belongs to the owner of `folder`: the service must be able to replace it. OSError."""
    if os.geteuid() == 0:
        status = folder.stat()
        for path in paths:
            os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
