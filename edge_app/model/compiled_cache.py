"""Compiled graphs on disk, handed to OpenVINO only when they are what it wrote.

OpenVINO loads most blobs that have a flipped bit, and some of them compute something else without a word
(docs/bundle.md). So every bundle has a folder of its own in the cache, named by its hash, with the SHA-256 of each file
in a list. What differs, or is not listed since the process was killed before it could be, is removed; OpenVINO
then compiles it anew. This finds decay, not an attacker: who may write blobs may write hashes, too.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openvino as ov

from edge_app.durable import replace_text
from edge_app.model.bundle import Bundle, sha256_of_all

# By OpenVINO's version: what another one compiled is of no use, is not in this one's list, and so is removed.
HASHES_NAME = f"hashes-{re.sub('[^0-9A-Za-z.]+', '-', ov.get_version())}.json"

log = logging.getLogger(__name__)

Hashes = dict[str, str]  # file name -> SHA-256


def cache_folder(cache_dir: Path, bundle_hash: str) -> Path:
    """Where the compiled graphs of a bundle are; the first 16 of 64 digits of its hash will do."""
    return cache_dir / bundle_hash[:16]


@contextmanager
def checked_cache(cache_dir: Path | None, bundle: Bundle) -> Iterator[Path | None]:
    """The folder that OpenVINO may load from and write to while the block runs; None to do without.

    A cache only saves time: a folder that cannot be written, or that another process works in, is logged and no error.
    """
    if cache_dir is None:
        yield None
        return
    folder = cache_folder(cache_dir, bundle.hash)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        log.warning("compiled graphs not cached folder=%s reason=%s", folder, error.strerror)
        yield None
        return
    try:
        # Against a second process that removes what this one has yet to list. It ends with the process.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        kept = remove_changed(folder)
    except OSError as error:
        log.warning("compiled graphs not cached folder=%s reason=%s", folder, error.strerror)
        yield None
    else:
        before = _states(folder)
        try:
            yield folder
        finally:
            _list(folder, kept, before)
    finally:
        os.close(descriptor)


def remove_changed(folder: Path) -> Hashes:
    """Remove the files that are not what was listed and return the others; OSError if one cannot be read."""
    listed = _listed(folder)
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.name != HASHES_NAME)
    hashes = dict(zip((path.name for path in found), sha256_of_all(found), strict=True))
    for path in found:
        if listed.get(path.name) != hashes[path.name]:
            log.warning("compiled graph removed file=%s reason=%s", path, "it is not what was written")
            path.unlink()
            del hashes[path.name]
    return hashes


def _listed(folder: Path) -> Hashes:
    """What the list says; nothing where there is none, or one that decayed itself."""
    try:
        listed = json.loads((folder / HASHES_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):  # the last of brackets in brackets
        return {}
    return listed if isinstance(listed, dict) else {}


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    """File name -> (time of the last change in ns, size in bytes)."""
    found = {path.name: path.stat() for path in folder.iterdir() if path.is_file() and path.name != HASHES_NAME}
    return {name: (status.st_mtime_ns, status.st_size) for name, status in found.items()}


def _list(folder: Path, known: Hashes, before: dict[str, tuple[int, int]]) -> None:
    """Write the list, whole or not at all, if OpenVINO added or rewrote files since `before`."""
    try:
        after = _states(folder)
        if after == before:
            return
        changed = [name for name in after if after[name] != before.get(name)]
        hashes = {name: digest for name, digest in known.items() if name in after}
        hashes.update(zip(changed, sha256_of_all([folder / name for name in changed]), strict=True))
        replace_text(folder / HASHES_NAME, json.dumps(hashes, indent=1, sort_keys=True))
    except OSError as error:  # a full disk: these graphs are compiled again at the next start
        log.warning("compiled graphs not listed folder=%s reason=%s", folder, error.strerror)
