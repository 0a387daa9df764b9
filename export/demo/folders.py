"""A folder that is there whole or not at all: written beside its place, then put there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.exchange import put_in_place
from export.work_folder import work_folder


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """A new folder beside `out` to write in; it takes the place of `out` when the block ends well, else it goes.

    What was at `out` stays until then, and a reader finds the one or the other at every moment, but for that between
    two renames where the file system cannot exchange names. What a killed writer left goes when the next one begins.
    """
    out = out.resolve()  # of a link, what it leads to is replaced
    out.parent.mkdir(parents=True, exist_ok=True)
    with work_folder(out) as new:
        yield new
        new.chmod(0o755)  # it was made private
        put_in_place(new, out)
