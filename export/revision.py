"""Which checkpoint a name stands for: what a bundle's manifest says of its source, found without loading weights."""

from __future__ import annotations

from pathlib import Path

from export.errors import ExportError, first_line


def source_of(checkpoint: str) -> tuple[str, str | None]:
    """Name and hub commit of a folder (which has none) or of a hub id, as `Manifest.source` has them.

    Raises:
        ExportError: the hub does not know the checkpoint, or cannot be asked and has not been before.
    """
    folder = Path(checkpoint)
    if folder.exists():
        return folder.resolve().name, None
    from huggingface_hub import hf_hub_download  # a second that folders need not wait for

    try:
        config = hf_hub_download(checkpoint, "config.json")
    except (OSError, ValueError) as error:
        raise ExportError(
            f"The checkpoint {checkpoint} was found neither as a folder nor on a model hub ({first_line(error)}); "
            "check the name and the network."
        ) from error
    return checkpoint, Path(config).parent.name  # the cache keeps a file in a folder named as its commit
