"""Write a bundle so that it is there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import openvino as ov

from edge_app.model.bundle import MANIFEST_NAME, sha256_of
from edge_app.model.device import core
from edge_app.model.manifest import File, Manifest, Role, RoleFiles, StagePrecision
from export.errors import ExportError
from export.exchange import put_in_place
from export.work_folder import work_folder


@contextmanager
def building(out: Path, *, force: bool) -> Iterator[Path]:
    """A folder beside `out` to build in; when the block ends well it takes the place of `out`, else it is removed.

    Raises:
        ExportError: `out` is in the way, or the disk is full or not writable.
    """
    check_target(out, force=force)
    with ExitStack() as stack:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            work = stack.enter_context(work_folder(out))
        except OSError as error:
            raise ExportError(
                f"Nothing can be written at {out.parent} ({error.strerror}); choose another place."
            ) from error
        try:
            yield work
            work.chmod(0o755)  # it was made private; the board's service user must read it
            _sync(*work.iterdir(), work)
            put_in_place(work, out)
            _sync(out.parent)
        except OSError as error:
            raise ExportError(
                f"The bundle cannot be written at {out.parent} ({error.strerror or error}); "
                "free some space or choose another place."
            ) from error


def check_space(folder: Path, needed_bytes: int) -> None:
    """Raise ExportError unless the disk of `folder` has room for `needed_bytes`."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ExportError(
            f"The disk of {folder} has {free / 1e6:.0f} MB free, the bundle needs about {needed_bytes / 1e6:.0f} MB; "
            "free some space or choose another place."
        )


def save_role(model: ov.Model, folder: Path, role: Role, precision: StagePrecision) -> RoleFiles:
    """Write one IR and hash it; FP16 compresses what is still FP32.

    Raises:
        ExportError: OpenVINO could not write it (it hides the reason; a full disk is the usual one).
    """
    xml = folder / f"{role}.xml"
    try:
        ov.save_model(model, str(xml), compress_to_fp16=precision == "fp16")
        core().read_model(str(xml))  # a write cut short by a full disk is not reported by save_model
    except RuntimeError as error:
        free = shutil.disk_usage(folder).free
        raise ExportError(
            f"OpenVINO could not write {xml.name} ({free / 1e6:.0f} MB free on the disk): {str(error).strip()[:200]}"
        ) from error
    return RoleFiles(xml=describe(xml), bin=describe(xml.with_suffix(".bin")), precision=precision)


def describe(path: Path) -> File:
    """Name, size and hash of a file for the manifest."""
    return File(name=path.name, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, which makes the folder a bundle; `building` brings it to the disk with the rest."""
    text = manifest.model_dump_json(indent=1, exclude_none=True) + "\n"
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")


def check_target(out: Path, *, force: bool) -> None:
    """Raise ExportError when something other than an empty folder is at `out`; with `force` a bundle may be there."""
    try:
        if out.is_symlink() and not out.exists():
            raise ExportError(f"{out} is a link to {out.readlink()}, where nothing is; choose another name.")
        if not out.exists():
            return
        if not out.is_dir():
            raise ExportError(f"{out} is a file; choose another name for the bundle.")
        if not any(out.iterdir()):
            return
    except OSError as error:
        raise ExportError(f"{out} cannot be looked into ({error.strerror}); choose another place.") from error
    if not (out / MANIFEST_NAME).is_file():
        raise ExportError(f"{out} has other things in it than a bundle; choose another folder.")
    if not force:
        raise ExportError(f"{out} already holds a bundle; choose another folder, or replace it with --force.")


def _sync(*paths: Path) -> None:
    """Bring files and folders to the disk, so that a power cut after the rename leaves no bundle of empty files."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
