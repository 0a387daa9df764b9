"""Compiled graphs on disk, handed to OpenVINO only when they are what it wrote.

OpenVINO loads most blobs that have a flipped bit, and some of them compute something else without a word
(docs/bundle.md). So every bundle has a folder of its own in the cache, named by its hash, with the SHA-256 of each file
in a list. What differs is removed, and so is what is not listed, since the process was killed before it could be;
OpenVINO then compiles it anew. This finds decay, not an attacker: who may write blobs may write hashes, too.

The GPU plugin writes kernels while it infers, in the background, too. So the list is brought up to date again and
again, until the process ends, and the folder is locked for as long.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import logging
import os
import re
import weakref
from collections.abc import Collection
from pathlib import Path

import openvino as ov

from edge_app.durable import replace_text
from edge_app.model.borrowed_cache import BorrowedCache, remove_leftovers
from edge_app.model.bundle import Bundle, sha256_of_all
from edge_app.model.manifest import Manifest

# By OpenVINO's version: what another one compiled is of no use, is not in this one's list, and so is removed.
HASHES_NAME = f"hashes-{re.sub('[^0-9A-Za-z.]+', '-', ov.get_version())}.json"

# Graphs for two devices take about twice the bundle; a kernel takes 0.1 to 0.5 MB, and the closed set has some hundred.
BUNDLE_TIMES = 3
KERNELS_BYTES = 256 << 20

log = logging.getLogger(__name__)

Hashes = dict[str, str]  # file name -> SHA-256
State = tuple[int, int]  # time of the last change in ns, size in bytes


def cache_folder(cache_dir: Path, bundle_hash: str) -> Path:
    """Where the compiled graphs of a bundle are; the first 16 of 64 digits of its hash will do."""
    return cache_dir / bundle_hash[:16]


class CompiledCache:
    """The folder of one bundle that OpenVINO may load from and write to, locked until nobody holds this object."""

    def __init__(self, folder: Path, descriptor: int, limit_bytes: int) -> None:
        """Remove what is not as it was listed; OSError if that cannot be done.

        Args:
            folder: of the bundle.
            descriptor: of the folder, which is locked; closed with this object.
            limit_bytes: of all files; beyond it the oldest are removed.
        """
        self.folder = folder
        self._limit_bytes = limit_bytes
        self._listed = remove_changed(folder)
        self._before = _states(folder)
        self._told = False  # that the list cannot be written
        weakref.finalize(self, os.close, descriptor)

    def list_written(self) -> None:
        """Write the list, whole or not at all, if OpenVINO has added or rewritten files since the last time.

        A file that is being written is left for the next time. A list that cannot be written is logged and no error.
        """
        try:
            self._list_written()
        except OSError as error:  # a full disk: these graphs are compiled again at the next start
            if not self._told:
                log.warning("compiled graphs not listed folder=%s reason=%s", self.folder, error.strerror)
            self._told = True

    def _list_written(self) -> None:
        found = _states(self.folder)
        if found == self._before:
            return
        changed = [name for name in found if found[name] != self._before.get(name)]
        hashes = dict(zip(changed, sha256_of_all([self.folder / name for name in changed]), strict=True))
        # What was whole before it was hashed, and is the same after, is whole: the lock keeps other processes away.
        unfinished, after = _open_files(self.folder), _states(self.folder)
        whole = {name for name in changed if name not in unfinished and after.get(name) == found[name]}
        listed = {name: digest for name, digest in self._listed.items() if name in after and name not in changed}
        listed |= {name: hashes[name] for name in whole}
        for name in _surplus(after, self._limit_bytes, keep=unfinished):
            (self.folder / name).unlink(missing_ok=True)
            listed.pop(name, None)
        replace_text(self.folder / HASHES_NAME, json.dumps(listed, indent=1, sort_keys=True))
        self._listed = listed
        self._before = {name: after[name] for name in listed}


Cache = CompiledCache | BorrowedCache
_in_use: weakref.WeakValueDictionary[Path, Cache] = weakref.WeakValueDictionary()  # of this process


def open_cache(cache_dir: Path | None, bundle: Bundle) -> Cache | None:
    """The cache of a bundle, the same one for all of this process; None to do without.

    Where another process works in the folder, what it has listed is borrowed. A cache only saves time: a folder that
    cannot be written is logged and no error.
    """
    if cache_dir is None:
        return None
    folder = cache_folder(cache_dir, bundle.hash)
    if folder in _in_use:
        return _in_use[folder]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(cache_dir)
        _in_use[folder] = cache = _open(folder, _limit_bytes(bundle.manifest))
    except OSError as error:
        log.warning("compiled graphs not cached folder=%s reason=%s", folder, error.strerror)
        return None
    return cache


def _open(folder: Path, limit_bytes: int) -> Cache:
    with contextlib.ExitStack() as undo:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        undo.callback(os.close, descriptor)
        try:
            # Against a second process that removes what this one has yet to list. It ends with the process.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return BorrowedCache(folder, _listed(folder))
        cache = CompiledCache(folder, descriptor, limit_bytes)
        undo.pop_all()
    return cache


@atexit.register
def list_all() -> None:
    """Bring the lists of all caches of this process up to date, for its end."""
    for cache in list(_in_use.values()):
        cache.list_written()


def remove_changed(folder: Path) -> Hashes:
    """Remove the files that are not what was listed and return the others; OSError if one cannot be read."""
    listed = _listed(folder)
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.name != HASHES_NAME)
    hashes = dict(zip((path.name for path in found), sha256_of_all(found), strict=True))
    removed = [path for path in found if listed.get(path.name) != hashes[path.name]]
    for path in removed:
        path.unlink()
        del hashes[path.name]
    changed = [path.name for path in removed if path.name in listed]
    if changed:
        names = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        log.warning("compiled graphs removed folder=%s reason=%r files=%s", folder, "not what was written", names)
    if unlisted := len(removed) - len(changed):
        reason = "the process that wrote them ended before they were listed"
        log.info("compiled graphs removed folder=%s files=%d reason=%r", folder, unlisted, reason)
    return hashes


def _listed(folder: Path) -> Hashes:
    """What the list says; nothing where there is none, or one that decayed itself."""
    try:
        listed = json.loads((folder / HASHES_NAME).read_bytes())
    except (OSError, ValueError, RecursionError):  # the last of brackets in brackets
        return {}
    return listed if isinstance(listed, dict) else {}


def _states(folder: Path) -> dict[str, State]:
    """File name -> its state."""
    found = {path.name: path.stat() for path in folder.iterdir() if path.is_file() and path.name != HASHES_NAME}
    return {name: (status.st_mtime_ns, status.st_size) for name, status in found.items()}


def _open_files(folder: Path) -> set[str]:
    """Names of the files of `folder` that this process has open: OpenVINO has not finished writing them."""
    place = folder.resolve()
    names = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            target = link.readlink()
            if target.parent == place:
                names.add(target.name)
    return names


def _limit_bytes(manifest: Manifest) -> int:
    return BUNDLE_TIMES * sum(file.size_bytes for file in manifest.files()) + KERNELS_BYTES


def _surplus(states: dict[str, State], limit_bytes: int, *, keep: Collection[str]) -> list[str]:
    """The oldest files, which have to go for the others to take no more than `limit_bytes`."""
    total_bytes = sum(size_bytes for _, size_bytes in states.values())
    names = []
    for name in sorted(states, key=lambda name: states[name]):
        if total_bytes <= limit_bytes:
            break
        if name not in keep:
            names.append(name)
            total_bytes -= states[name][1]
    if names:
        log.info("compiled graphs removed files=%d reason='the folder is above %d MB'", len(names), limit_bytes >> 20)
    return names
