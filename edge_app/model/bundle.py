"""Open and verify a bundle: a folder with `manifest.json`, `tokenizer.json` and one OpenVINO IR a role.

OpenVINO does not notice a flipped bit in a `.bin`, so every file is hashed against the manifest before anything
is parsed. A folder without a manifest is not a bundle: the export writes the manifest last.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edge_app.errors import BundleError
from edge_app.model.manifest import FORMAT_VERSION, ROLES_OF_TASK, File, Manifest, Role, Task

MANIFEST_NAME = "manifest.json"
MANIFEST_LIMIT_BYTES = 1 << 20  # 1 MiB; a real one has about 10 KiB
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: its folder.
        manifest: the parsed `manifest.json`.
        hash: SHA-256 of `manifest.json`; it names the bundle, since the manifest holds the hash of each file.
    """

    path: Path
    manifest: Manifest
    hash: str

    def role_path(self, role: Role) -> Path:
        """The `.xml` of `role`; raises BundleError when the bundle has no such role."""
        if role not in self.manifest.roles:
            raise BundleError(
                f"{self.path} has no {role} graph (tasks: {', '.join(self.manifest.tasks)}); "
                "export the checkpoint again with the task that needs it."
            )
        return self.path / self.manifest.roles[role].xml.name

    def require(self, task: Task) -> None:
        """Raise BundleError unless the bundle serves `task`."""
        if task not in self.manifest.tasks:
            raise BundleError(
                f"The bundle {self.path} serves {' and '.join(self.manifest.tasks)}, not {task}; "
                f"give a bundle exported with --task {task}."
            )


def open_bundle(path: Path, *, verify: bool = True) -> Bundle:
    """Read the manifest in folder `path` and hash every file it names.

    Args:
        path: the bundle's folder.
        verify: False skips the hashes (sizes and names are still checked); for tools that just listed them.

    Raises:
        BundleError: the folder, the manifest or a file is missing, malformed or changed.
    """
    manifest_bytes = _read_manifest(path)
    try:
        manifest = Manifest.model_validate_json(manifest_bytes)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise BundleError(
            f"{path / MANIFEST_NAME} is not a manifest of format {FORMAT_VERSION}: {where}: {first['msg']}"
            f" ({error.error_count()} problems); export the checkpoint again with this version."
        ) from error
    for task in manifest.tasks:
        missing = [role for role in ROLES_OF_TASK[task] if role not in manifest.roles]
        if missing:
            raise BundleError(f"{path} claims the task {task} but has no {', '.join(missing)} graph; export it again.")
    for file in manifest.files():
        _check_file(path, file, verify=verify)
    return Bundle(path, manifest, hashlib.sha256(manifest_bytes).hexdigest())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(path: Path) -> bytes:
    if not path.is_dir():
        raise BundleError(f"There is no bundle at {path}: it is not a folder; give the folder an export wrote.")
    manifest_path = path / MANIFEST_NAME
    try:
        with manifest_path.open("rb") as file:
            content = file.read(MANIFEST_LIMIT_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{path} is not a bundle: {MANIFEST_NAME} cannot be read ({error.strerror}); "
            "an export that was interrupted leaves none, so run it again."
        ) from error
    if len(content) > MANIFEST_LIMIT_BYTES:
        raise BundleError(f"{manifest_path} is larger than {MANIFEST_LIMIT_BYTES} bytes; this is not a bundle of ours.")
    return content


def _check_file(folder: Path, file: File, *, verify: bool) -> None:
    path = folder / file.name
    try:
        status = path.lstat()
    except OSError as error:
        raise BundleError(
            f"The bundle file {path} cannot be read ({error.strerror}); install the bundle again."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"The bundle file {path} is not a plain file (a link?); install the bundle again.")
    if status.st_size != file.size_bytes:
        raise BundleError(
            f"The bundle file {path} has {status.st_size} bytes, its manifest says {file.size_bytes}; "
            "install the bundle again."
        )
    if verify and (actual := sha256_of(path)) != file.sha256:
        raise BundleError(
            f"The bundle file {path} was changed: SHA-256 {actual[:12]}..., its manifest says {file.sha256[:12]}...; "
            "install the bundle again."
        )
