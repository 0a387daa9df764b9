"""Name the packages of this environment whose version is not the one that requirements/all.txt pins.

.venv-newest/bin/python requirements/differences.py
"""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

UNPINNED = {"pip", "torch", "edge-app"}


def main() -> None:
    """Print a line for each package that differs, is missing, or is not in the lock."""
    here = {canonicalize_name(found.metadata["Name"]): found.version for found in distributions()}
    locked = {}
    for entry in (Path(__file__).parent / "all.txt").read_text(encoding="utf-8").splitlines():
        if entry and not entry.startswith(("#", " ")):
            wanted = Requirement(entry.rstrip(" \\"))
            if wanted.marker is None or wanted.marker.evaluate():
                locked[canonicalize_name(wanted.name)] = next(iter(wanted.specifier)).version
    names = sorted((here.keys() | locked.keys()) - UNPINNED)
    lines = [
        f"  {name}: locked {locked.get(name, 'not at all')}, here {here.get(name, 'not installed')}"
        for name in names
        if here.get(name) != locked.get(name)
    ]
    print(f"Packages that differ from requirements/all.txt: {len(lines)}", *lines, sep="\n")


if __name__ == "__main__":
    main()
