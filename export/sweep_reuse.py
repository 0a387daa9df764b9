"""Whether the bundle that lies where a sweep is going to write one is the very bundle that it would write."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from edge_app.model.bundle import MANIFEST_NAME, open_bundle
from edge_app.model.manifest import Manifest
from export.bundle import check_target
from export.errors import ExportError
from export.options import Options
from export.revision import source_of

WEIGHTS = ("*.safetensors", "*.bin")


def is_there(folder: Path, checkpoint: str, options: Options) -> bool:
    """Whether `folder` has the bundle of this checkpoint and these options; False when there is none.

    Raises:
        ExportError: something else is there.
        BundleError: a bundle is there that cannot be read.
    """
    if not (folder / MANIFEST_NAME).is_file():
        check_target(folder, force=False)
        return False
    manifest = open_bundle(folder, verify=False).manifest  # the comparison hashes the files
    differences = [*_of_source(manifest, checkpoint), *_of_options(manifest, options)]
    if differences:
        raise ExportError(
            f"{folder} holds another bundle than this sweep would make ({'; '.join(differences)}), and the two are not "
            "to be compared; remove that folder to have the bundle made anew, or give another OUT."
        )
    return True


def _of_source(manifest: Manifest, checkpoint: str) -> list[str]:
    """What tells the bundle's checkpoint from this one; a folder has no revision, but weights have a date."""
    name, revision = source_of(checkpoint)
    source = manifest.source
    if source.checkpoint != name:
        return [f"it is of the checkpoint {source.checkpoint}, not {name}"]
    if source.revision is not None and source.revision != revision:
        return [f"it is of the revision {source.revision}, not of {revision or 'a folder'}"]
    made = datetime.fromisoformat(manifest.created)  # whole seconds, once the weights had been read
    weights = [path for pattern in WEIGHTS for path in Path(checkpoint).glob(pattern)]
    if any(int(path.stat().st_mtime) > made.timestamp() for path in weights):
        return [f"it was made on {manifest.created}, and the weights of {checkpoint} were written since"]
    return []


def _of_options(manifest: Manifest, options: Options) -> list[str]:
    differences = [
        f"its {role} is {files.precision}, not {options.precision_of(role)}"
        for role, files in manifest.roles.items()
        if files.precision != options.precision_of(role)
    ]
    longest = {generation.max_new_tokens for generation in manifest.generation.values()}
    if longest != {options.max_new_tokens}:
        tokens = " and ".join(map(str, sorted(longest)))
        differences.append(f"its texts have up to {tokens} new tokens, not {options.max_new_tokens}")
    return differences
