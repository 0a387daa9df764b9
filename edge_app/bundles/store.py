"""Where bundles are installed: a folder a name, in it a folder a version, and two links.

    bundles/
      caption/
        caption-1f2e3d4c5b6a7988/    name, and the first 16 digits of the bundle's hash; never changed once it is there
        caption-0badc0ffee0ddf00/
        current -> caption-1f2e3d4c5b6a7988     what `model.bundles` names
        previous -> caption-0badc0ffee0ddf00    what is gone back to
        probation.json               what `edge_app.bundles.probation` knows of them

A link is replaced by a rename, so that a kill or a power cut at any moment leaves the old one or the new one. This
module imports neither NumPy nor OpenVINO: the service's own process uses it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_app.durable import give_to_owner_of, sync
from edge_app.errors import BundleError

CURRENT, PREVIOUS = "current", "previous"
INCOMING = ".incoming-"  # begins the name of a folder that is still being copied


class Slot:
    """The installed versions of the bundle of one name. A version is the name of its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.folder.name

    @property
    def current(self) -> str | None:
        """The version in use; None before the first one."""
        return self._target(CURRENT)

    @property
    def previous(self) -> str | None:
        """The version to go back to; None while there is no other one."""
        version = self._target(PREVIOUS)
        return None if version == self.current else version

    def versions(self) -> list[str]:
        """All versions that are there, those that no link names included."""
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir() and not path.is_symlink())

    def path(self, version: str) -> Path:
        """The folder of a version."""
        return self.folder / version

    def switch(self, version: str) -> None:
        """Take a version into use; the one that was is the previous one, unless it is another copy of the same."""
        with self._locked():
            current = self.current
            # In this order: killed in between, nothing is lost but the version before the last.
            if current is not None and hash_part(current) != hash_part(version):
                self._link(PREVIOUS, current)
            self._link(CURRENT, version)

    def roll_back(self, failed: str | None = None) -> tuple[str, str]:
        """Make the previous version the current one and the other way round: (from, to).

        With `failed`, only if that is the current version, and without waiting for anybody who is changing the links.
        Raises BundleError when there is none, BlockingIOError if somebody is, OSError when nothing can be written.
        """
        with self._locked(wait=failed is None):
            current, previous = self.current, self.previous
            if failed not in (None, current):
                raise BundleError(f"{failed} is not the version of {self.name} in use any more: {current} is.")
            if current is None or previous is None:
                raise BundleError(f"There is no previous version of {self.name} to go back to; install one.")
            self._link(CURRENT, previous)
            self._link(PREVIOUS, current)
            return current, previous

    def prune(self) -> list[str]:
        """Remove all versions but the current and the previous one; returns those that went."""
        with self._locked():
            gone = [version for version in self.versions() if version not in (self.current, self.previous)]
            for version in gone:
                shutil.rmtree(self.path(version))
            return gone

    def _target(self, link: str) -> str | None:
        """The version a link names; None for a link that is not there, or leads elsewhere or nowhere."""
        try:
            version = str((self.folder / link).readlink())
            return version if "/" not in version and self.path(version).is_dir() else None
        except OSError:
            return None

    def _link(self, link: str, version: str) -> None:
        part = self.folder / f".{link}"
        part.unlink(missing_ok=True)
        part.symlink_to(version)
        give_to_owner_of(self.folder, part)
        part.replace(self.folder / link)
        sync(self.folder)

    @contextmanager
    def _locked(self, *, wait: bool = True) -> Iterator[None]:
        """Between reading the links and changing them: the service and a person may both do so."""
        with _lock(self.folder, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield


class Store:
    """All installed bundles: the folder `bundles` of the state folder."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "bundles"

    def slots(self) -> list[Slot]:
        """One for each name, sorted by it."""
        if not self.folder.is_dir():
            return []
        folders = sorted(path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [slot for slot in map(Slot, folders) if slot.versions()]  # not a bundle that was put here by hand

    def slot(self, name: str) -> Slot:
        """That of one name, made if need be; OSError when it cannot be."""
        slot = Slot(self.folder / name)
        self._make(slot.folder)
        return slot

    @contextmanager
    def installing(self) -> Iterator[Path]:
        """An empty folder to copy a bundle to, removed at the end if it still is there.

        Raises BundleError while another process installs, and OSError when nothing can be written.
        """
        self._make(self.folder)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(_lock(self.folder, fcntl.LOCK_EX | fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise BundleError(
                    f"Another process is installing a bundle in {self.folder}; wait until it has ended."
                ) from error
            for left_over in self.folder.glob(f"{INCOMING}*"):  # of an install that was killed
                shutil.rmtree(left_over)
            incoming = Path(tempfile.mkdtemp(prefix=INCOMING, dir=self.folder))
            stack.callback(shutil.rmtree, incoming, ignore_errors=True)
            yield incoming

    def _make(self, folder: Path) -> None:
        """Make a folder below the state folder, and whatever of that is missing."""
        if folder.is_dir():
            return
        if not folder.parent.is_dir():
            self._make(folder.parent)
        folder.mkdir(exist_ok=True)
        give_to_owner_of(folder.parent, folder)
        sync(folder.parent)


def version_name(name: str, bundle_hash: str) -> str:
    """The folder of a version."""
    return f"{name}-{bundle_hash[:16]}"


def hash_part(version: str) -> str:
    """The first 16 digits of the hash that a version's folder is named by."""
    return version.rpartition("-")[2].partition("+")[0]


@contextmanager
def _lock(folder: Path, how: int) -> Iterator[None]:
    """Hold the lock of a folder; it ends with the process, however that ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
