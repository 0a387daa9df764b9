"""A folder that is there whole or not at all: written beside its place, then put there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.exchange import put_in_place


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """A new folder beside `out` to write in; it takes the place of `out` when the block ends well, else it goes.

    What was at `out` stays until then, and a reader finds the one or the other at every moment, but for that between
    two renames where the file system cannot exchange names. What a killed writer left goes when the next one begins.
    """
    out = out.resolve()  # of a link, what it leads to is replaced
    new = out.with_name(f".{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    try:
        yield new
        put_in_place(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
