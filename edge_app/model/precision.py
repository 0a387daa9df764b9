"""The precision of a bundle in a few words."""

from __future__ import annotations

from edge_app.model.manifest import Manifest


def in_words(manifest: Manifest) -> str:
    """That of the bundle, and the graphs that have another one: `int8, decoder int4`."""
    others = [
        f"{role} {files.precision}" for role, files in manifest.roles.items() if files.precision != manifest.precision
    ]
    return ", ".join([manifest.precision, *others])
