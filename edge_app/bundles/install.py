"""Install a bundle: what was checked is what is copied, and only what was copied, checked and tried is taken into use.

Nothing of the source is trusted before its signature holds, and nothing is read from it twice: the bytes whose hash was
right are the bytes on the board's disk. Killed at any step, the link `current` names the old version or the new one,
and the next install removes what was left.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_app.bundles.store import Slot, Store, hash_part, version_name
from edge_app.durable import give_to_owner_of, sync
from edge_app.errors import BundleError
from edge_app.minisign import PublicKey
from edge_app.model.bundle import (
    Bundle,
    changed_file,
    open_bundle,
    open_manifest,
    open_plain,
    refuse_other_files,
)
from edge_app.model.compiled_cache import cache_folder
from edge_app.model.manifest import File

LIMIT_BYTES = 16 << 30  # of a whole bundle; BLIP-base has 0.4 GB in INT8 and 1.5 GB in FP32
SPARE_BYTES = 64 << 20  # of the disk that an install leaves free for others
_COPY_BYTES = 1 << 20
BY_WHOM = "run as root or as the service's user"
_MENDS = {
    errno.ENOSPC: "make room on that disk",
    errno.EROFS: "mount it writable",
    errno.ENOTDIR: "a file is where a folder belongs; move it away, or set model.state_dir",
    errno.EEXIST: "a file is where a folder belongs; move it away, or set model.state_dir",
}


@dataclass(frozen=True)
class Installed:
    """What an install did: the bundle in use now, the version it replaced, and the versions that were removed."""

    bundle: Bundle
    replaced: str | None
    removed: tuple[str, ...]
    tried: object = None
    """What `try_out` returned; None where the bundle was in use already."""


def install(
    source: Path,
    store: Store,
    *,
    trusted_keys: Sequence[PublicKey],
    try_out: Callable[[Path], object],
    cache_dir: Path | None = None,
    allow_downgrade: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Installed:
    """Check, copy, try and take into use the bundle in folder `source`.

    Args:
        source: the folder.
        store: where to.
        trusted_keys: one of them must have signed it; none: unsigned bundles are taken.
        try_out: loads a folder and runs its golden sample; raises BundleError if that fails.
        cache_dir: folder of compiled graphs; those of the versions that go, go too.
        allow_downgrade: also take a lower `version` than the current one's.
        tell: called with each step, in words.

    Raises:
        BundleError: it is refused, or there is no room; what was in use still is.
    """
    try:
        with store.installing() as incoming:
            tell("checking")
            bundle, read = open_manifest(source, trusted_keys)
            refuse_other_files(bundle)
            slot = store.slot(bundle.manifest.name)
            _refuse_downgrade(bundle, slot, allow=allow_downgrade)
            version = _intact_version(bundle, slot, trusted_keys)
            if version is None:
                tell("copying")
                _refuse_without_room(bundle, incoming)
                _copy(bundle, read, incoming)
                version = _move_in(bundle, slot, incoming)
            if version == slot.current:
                return Installed(replace(bundle, path=slot.path(version)), None, ())
            tell("trying")
            try:
                tried = try_out(slot.path(version))
            except BundleError:
                _prune(slot, cache_dir)
                raise
            tell("switching")
            replaced = slot.current
            slot.switch(version)
            return Installed(replace(bundle, path=slot.path(version)), replaced, _prune(slot, cache_dir), tried)
    except OSError as error:
        raise BundleError(
            f"The bundle {source} cannot be installed in {store.folder} ({error.strerror or error}"
            f"{f', {error.filename}' if error.filename else ''}); "
            f"{_MENDS.get(error.errno or 0, BY_WHOM)}."
        ) from error


def _refuse_downgrade(bundle: Bundle, slot: Slot, *, allow: bool) -> None:
    if slot.current is None or allow:
        return
    try:
        current, _ = open_manifest(slot.path(slot.current))
    except BundleError:
        return  # it cannot be used, so whatever can is better
    if bundle.manifest.version < current.manifest.version:
        raise BundleError(
            f"{bundle.path} is version {bundle.manifest.version} of {slot.name}, and version "
            f"{current.manifest.version} is in use; if that is what you want, say --allow-downgrade."
        )


def _intact_version(bundle: Bundle, slot: Slot, trusted_keys: Sequence[PublicKey]) -> str | None:
    """The version that is this very bundle, if it is installed and whole."""
    for version in slot.versions():
        if hash_part(version) == bundle.hash[:16]:
            try:
                if open_bundle(slot.path(version), trusted_keys=trusted_keys).hash == bundle.hash:
                    return version
            except BundleError:
                continue  # it decayed: a whole copy takes its place
    return None


def _refuse_without_room(bundle: Bundle, folder: Path) -> None:
    needed = sum(file.size_bytes for file in bundle.manifest.files())
    if needed > LIMIT_BYTES:
        raise BundleError(f"{bundle.path} has {needed / 1e9:.1f} GB; {LIMIT_BYTES / 1e9:.1f} GB is the limit.")
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise BundleError(
            f"{folder.parent} has {free / 1e6:.0f} MB free, and the bundle needs {needed / 1e6:.0f} MB with "
            f"{SPARE_BYTES / 1e6:.0f} MB to spare; free some space."
        )


def _copy(bundle: Bundle, read: dict[str, bytes], incoming: Path) -> None:
    """Every file of the bundle to `incoming`, hashed on the way, and brought to the disk."""
    for name, content in read.items():  # as they were when they were checked
        (incoming / name).write_bytes(content)
    for file in bundle.manifest.files():
        _copy_file(bundle.path / file.name, incoming / file.name, file)
    files = list(incoming.iterdir())
    for path in files:
        path.chmod(0o644)
    incoming.chmod(0o755)
    give_to_owner_of(incoming.parent, incoming, *files)
    sync(*files, incoming)


def _copy_file(source: Path, target: Path, file: File) -> None:
    digest = hashlib.sha256()
    left = file.size_bytes + 1  # one more than there may be
    try:
        reader = open_plain(source)
    except OSError as error:
        raise BundleError(f"The bundle file {source} cannot be read ({error.strerror}); fetch it again.") from error
    with reader, target.open("wb") as writer:
        while block := reader.read(min(_COPY_BYTES, left)):
            digest.update(block)
            writer.write(block)
            left -= len(block)
    if left != 1:
        size = "more" if left == 0 else f"{file.size_bytes + 1 - left} bytes"
        raise BundleError(f"{source} has {size}, its manifest says {file.size_bytes} bytes; fetch it again.")
    if digest.hexdigest() != file.sha256:
        raise changed_file(source, file, digest.hexdigest())


def _move_in(bundle: Bundle, slot: Slot, incoming: Path) -> str:
    """Give the copied folder its name; a decayed copy of the same bundle keeps its own until it is pruned."""
    version = plain = version_name(slot.name, bundle.hash)
    copies = 0
    while slot.path(version).exists():
        copies += 1
        version = f"{plain}+{copies}"
    os.rename(incoming, slot.path(version))  # noqa: PTH104  # Path.replace would take the place of an empty folder
    sync(slot.folder)
    return version


def _prune(slot: Slot, cache_dir: Path | None) -> tuple[str, ...]:
    """Remove what no link names, and its compiled graphs; returns the versions that went."""
    gone = slot.prune()
    kept = {hash_part(version) for version in slot.versions()}
    for version in gone:
        if cache_dir is not None and hash_part(version) not in kept:
            # Only room is at stake.
            shutil.rmtree(cache_folder(cache_dir, hash_part(version)), ignore_errors=True)
    return tuple(gone)
