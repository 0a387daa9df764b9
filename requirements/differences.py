"""Name the packages of this environment whose version is not the one that requirements/all.txt pins.

.venv-newest/bin/python requirements/differences.py
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement


def main() -> None:
    """Print a line for each package that differs, or that there is none."""
    lines = []
    for entry in (Path(__file__).parent / "all.txt").read_text(encoding="utf-8").splitlines():
        if not entry or entry.startswith(("#", " ")):
            continue
        wanted = Requirement(entry.rstrip(" \\"))
        if wanted.marker and not wanted.marker.evaluate():
            continue
        try:
            here = version(wanted.name)
        except PackageNotFoundError:
            here = "not installed"
        if not wanted.specifier.contains(here, prereleases=True):
            lines.append(f"  {wanted.name}: locked {str(wanted.specifier).removeprefix('==')}, here {here}")
    print(f"{len(lines)} packages differ from requirements/all.txt{':' if lines else '.'}", *lines, sep="\n")


if __name__ == "__main__":
    main()
