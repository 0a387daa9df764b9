"""Whether the bundle that lies where a sweep is going to write one is the very bundle that it would write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edge_app.model.bundle import MANIFEST_NAME, Bundle, open_bundle
from export.errors import ExportError
from export.sweep_record import RECORD_NAME, Origin, Record, differences, read_record

NAMED = 3  # differences told at most


def record_to_continue(out: Path, variants: Iterable[str], origin: Origin) -> Record:
    """The record of the run that left bundles in `out`; where there are none, a new one.

    Args:
        out: the sweep's folder.
        variants: all that a sweep may make; they are the names of the bundles' folders.
        origin: what this run makes its bundles from.

    Raises:
        ExportError: the bundles were made from something else, or nobody can say from what.
    """
    if not any(_has_bundle(out / name) for name in variants):
        return Record(origin=origin, bundles={})
    earlier = read_record(out)
    if earlier is None:
        differing = [f"there is no {RECORD_NAME} to tell what they were made from"]
    else:
        differing = differences(earlier.origin, origin)
    if earlier is None or differing:
        told = "; ".join(differing[:NAMED]) + (f"; and {len(differing) - NAMED} more" if len(differing) > NAMED else "")
        raise ExportError(
            f"{out} holds other bundles than this sweep would make ({told}), and they are not to be compared with new "
            "ones; remove that folder to have all made anew, or give another OUT."
        )
    return earlier


def made_earlier(folder: Path, record: Record) -> Bundle | None:
    """The bundle in `folder`, every file of it hashed, which an earlier run made; None when there is no bundle.

    Raises:
        ExportError: something else made it.
        BundleError: a bundle is there that cannot be read, or that has changed.
    """
    if not _has_bundle(folder):
        return None
    bundle = open_bundle(folder)
    if bundle.hash != record.bundles.get(folder.name):
        raise ExportError(
            f"{folder} holds a bundle that this sweep did not make; remove that folder to have the bundle made anew, "
            "or give another OUT."
        )
    return bundle


def _has_bundle(folder: Path) -> bool:
    return (folder / MANIFEST_NAME).is_file()
