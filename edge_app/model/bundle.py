"""Open and verify a bundle: a folder with `manifest.json`, `tokenizer.json` and one OpenVINO IR a role.

OpenVINO does not notice a flipped bit in a `.bin`, so every file is hashed against the manifest before anything
is parsed. Where keys are trusted, `manifest.json.minisig` must sign the manifest, and is checked before even that is
parsed. A folder without a manifest is not a bundle: the export writes the manifest last.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from edge_app.errors import BundleError
from edge_app.minisign import SIGNATURE_LIMIT_BYTES, PublicKey, Signed, verify_signature
from edge_app.model.manifest import FORMAT_VERSION, ROLES_OF_TASK, File, Manifest, Role, Task

MANIFEST_NAME = "manifest.json"
MANIFEST_LIMIT_BYTES = 1 << 20  # 1 MiB; a real one has about 10 KiB
SIGNATURE_NAME = f"{MANIFEST_NAME}.minisig"  # where `minisign -S` puts it
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: its folder, no link.
        manifest: the parsed `manifest.json`.
        hash: SHA-256 of `manifest.json`; it names the bundle, since the manifest holds the hash of each file.
        signed: by which of the trusted keys; None where no key is trusted.
    """

    path: Path
    manifest: Manifest
    hash: str
    signed: Signed | None = field(default=None, kw_only=True)

    @property
    def label(self) -> str:
        """Its name and the first 8 digits of its hash, for sentences: releases of one bundle share the name."""
        return f"{self.manifest.name} {self.hash[:8]}"

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


def open_bundle(path: Path, *, verify: bool = True, trusted_keys: Sequence[PublicKey] = ()) -> Bundle:
    """Read the manifest in folder `path` and hash every file it names.

    Args:
        path: the bundle's folder, or a link to it.
        verify: False skips the hashes (sizes and names are still checked); for tools that just listed them.
        trusted_keys: one of them must have signed the manifest, and nothing else may be in the folder; none: any
            bundle will do.

    Raises:
        BundleError: the folder, the manifest or a file is missing, malformed or changed; or it is not signed as asked.
    """
    # A link such as `current` may be switched at any moment: all files come from where it leads now.
    bundle, _ = open_manifest(Path(os.path.realpath(path)), trusted_keys)
    if trusted_keys:
        refuse_other_files(bundle)
    for file in bundle.manifest.files():
        _check_file(bundle.path / file.name, file)
    if verify:
        _check_hashes(bundle)
    return bundle


def open_manifest(path: Path, trusted_keys: Sequence[PublicKey] = ()) -> tuple[Bundle, dict[str, bytes]]:
    """Read, check and parse the manifest alone: the bundle, with the content of the files that were read, by name.

    Raises BundleError as `open_bundle` does.
    """
    read = {MANIFEST_NAME: _read_manifest(path)}
    signed = None
    if trusted_keys or (path / SIGNATURE_NAME).exists():
        read[SIGNATURE_NAME] = _read_signature(path)
    if trusted_keys:
        try:
            signed = verify_signature(read[MANIFEST_NAME], read[SIGNATURE_NAME], trusted_keys)
        except ValueError as error:
            raise BundleError(f"The signature {path / SIGNATURE_NAME} is refused: {error}.") from error
    try:
        manifest = Manifest.model_validate_json(read[MANIFEST_NAME])
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
    return Bundle(path, manifest, hashlib.sha256(read[MANIFEST_NAME]).hexdigest(), signed=signed), read


def refuse_other_files(bundle: Bundle) -> None:
    """Raise BundleError if the folder holds anything that the manifest does not name."""
    known = {MANIFEST_NAME, SIGNATURE_NAME, *(file.name for file in bundle.manifest.files())}
    if others := sorted(path.name for path in bundle.path.iterdir() if path.name not in known):
        raise BundleError(
            f"{bundle.path} holds {others[0]!r}, which its manifest does not name; "
            "remove it, or fetch the bundle again if you did not put it there."
        )


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading; OSError for a link and for what is no file: a FIFO would make its reader wait."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no plain file")
    return file


def sha256_of_all(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file, on all cores: hashing a bundle of 400 MB takes one core 0.3 s."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(sha256_of, paths))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(path: Path) -> bytes:
    try:
        is_folder = path.is_dir()
    except OSError as error:  # a folder above it is closed to this user
        raise BundleError(
            f"The bundle {path} cannot be read ({error.strerror}); put it where this user may read it."
        ) from error
    if not is_folder:
        raise BundleError(f"There is no bundle at {path}: it is not a folder; give the folder an export wrote.")
    manifest_path = path / MANIFEST_NAME
    try:
        with open_plain(manifest_path) as file:
            content = file.read(MANIFEST_LIMIT_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{path} is not a bundle: {MANIFEST_NAME} cannot be read ({error.strerror}); "
            "an export that was interrupted leaves none, so run it again."
        ) from error
    if len(content) > MANIFEST_LIMIT_BYTES:
        raise BundleError(f"{manifest_path} is larger than {MANIFEST_LIMIT_BYTES} bytes; this is not a bundle of ours.")
    return content


def _read_signature(path: Path) -> bytes:
    try:
        with open_plain(path / SIGNATURE_NAME) as file:
            return file.read(SIGNATURE_LIMIT_BYTES + 1)
    except OSError as error:
        raise BundleError(
            f"{path} is not signed: {SIGNATURE_NAME} cannot be read ({error.strerror}), and "
            f"model.trusted_keys, or --key, asks for a signature; sign it with `minisign -S -m {MANIFEST_NAME}`."
        ) from error


def _check_file(path: Path, file: File) -> None:
    try:
        status = path.lstat()
    except OSError as error:
        raise BundleError(
            f"The bundle file {path} cannot be read ({error.strerror}); copy or install the bundle again."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise BundleError(f"The bundle file {path} is not a plain file (a link?); copy or install the bundle again.")
    if status.st_size != file.size_bytes:
        raise BundleError(
            f"The bundle file {path} has {status.st_size} bytes, its manifest says {file.size_bytes}; "
            "copy or install the bundle again."
        )


def _check_hashes(bundle: Bundle) -> None:
    files = bundle.manifest.files()
    try:
        hashes = sha256_of_all([bundle.path / file.name for file in files])
    except OSError as error:
        raise BundleError(
            f"The bundle file {error.filename} cannot be read ({error.strerror}); install the bundle again."
        ) from error
    for file, actual in zip(files, hashes, strict=True):
        if actual != file.sha256:
            raise changed_file(bundle.path / file.name, file, actual)


def changed_file(path: Path, file: File, actual: str) -> BundleError:
    """The error for a file whose SHA-256 is `actual`."""
    return BundleError(
        f"The bundle file {path} was changed: SHA-256 {actual[:12]}..., its manifest says {file.sha256[:12]}...; "
        "copy or install the bundle again."
    )
