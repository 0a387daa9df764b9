"""Disks that are small, that fail, and whose power is cut. They are mounted in the row's own world, and go with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.faults.fault import UnavailableError

IMAGE_BYTES = 32 * 2**20
CHUNK = b"\0" * 4096


class Disk:
    """Something mounted on `path`, until `close`."""

    def __init__(self, path: Path, *mount: object) -> None:
        """Mount it; UnavailableError where that is refused."""
        if os.getpid() != 1:
            raise UnavailableError("to mount a disk a row needs a world of its own, and unshare(1) is refused here")
        path.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *map(str, mount), path], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UnavailableError(f"mount is refused here: {done.stderr.strip()}")
        self.path = path

    def fill(self) -> None:
        """Take all space that is left."""
        with (self.path / "ballast").open("ab", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(CHUNK)
            except OSError:
                return  # full

    def make_room(self) -> None:
        """Give back what `fill` took."""
        (self.path / "ballast").unlink()

    def close(self) -> None:
        """Unmount it; one that is still in use goes with the world."""
        subprocess.run(["umount", self.path], check=True)


def memory_disk(path: Path, size: str) -> Disk:
    """A disk of so many bytes, as `2m`, in memory."""
    return Disk(path, "-t", "tmpfs", "-o", f"size={size}", "none")


class Ext4Disk(Disk):
    """An ext4 file system in the file `image`. What it has not written to that file, a power cut takes."""

    def __init__(self, path: Path, image: Path, *, is_new: bool = True) -> None:
        self.image = image
        if is_new:
            with image.open("wb") as file:
                file.truncate(IMAGE_BYTES)
            subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-E", "lazy_itable_init=0", image], check=True)
        super().__init__(path, "-o", "loop,errors=remount-ro", image)

    def after_power_cut(self, path: Path) -> Ext4Disk:
        """The disk as the next start would find it: a copy of what the device has by now, mounted on `path`."""
        copy = self.image.with_suffix(".cut")
        shutil.copyfile(self.image, copy)
        return Ext4Disk(path, copy, is_new=False)

    def fail(self) -> None:
        """Let the kernel find an error, as of a worn-out card: the disk is read-only from now on, to open files too."""
        device = subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", self.path], capture_output=True, text=True, check=True
        ).stdout.strip()
        Path("/sys/fs/ext4", Path(device).name, "trigger_fs_error").write_text("1", encoding="ascii")
