"""requirements/ is what pyproject.toml asks for: complete, hashed, and the same versions in every file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = ("demo", "display", "metrics", "export")
# File -> extras and dependency groups in it; the runtime's own dependencies are in all but build.txt.
CONTENTS = {
    "all": (EXTRAS, ("build", "test", "lint")),
    "test": (("demo", "display", "metrics"), ("build", "test")),
    "demo": (("demo",), ("build",)),
    "board": (("display", "metrics"), ("kit",)),
    "build": ((), ("build",)),
}


def entries(name: str) -> dict[str, list[str]]:
    """Return package -> its entries in a file, options included; two versions have markers that exclude each other."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            found.setdefault(canonicalize_name(pin(line).name), []).append(line)
    return found


def pin(entry: str) -> Requirement:
    return Requirement(entry.split(" --hash=", maxsplit=1)[0])


def wanted(name: str) -> list[Requirement]:
    extras, groups = CONTENTS[name]
    texts = [] if name == "build" else list(PROJECT["project"]["dependencies"])
    for extra in extras:
        texts += PROJECT["project"]["optional-dependencies"][extra]
    for group in groups:
        texts += PROJECT["dependency-groups"][group]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != "torch"]


@pytest.mark.parametrize("name", CONTENTS)
def test_every_direct_dependency_is_pinned_within_its_range(name: str) -> None:
    """A change of pyproject.toml without `./setup.sh lock` is found here."""
    locked = entries(name)
    for requirement in wanted(name):
        assert canonicalize_name(requirement.name) in locked, f"{requirement} is not in the lock: run ./setup.sh lock"
        versions = [next(iter(pin(entry).specifier)) for entry in locked[canonicalize_name(requirement.name)]]
        for version in versions:
            assert version.operator == "=="
            assert requirement.specifier.contains(version.version), f"{requirement} is not {version}"


@pytest.mark.parametrize("name", [*CONTENTS, "home-assistant"])
def test_every_entry_has_hashes_and_torch_is_not_among_them(name: str) -> None:
    """torch is installed apart, so that a local CPU build, which has a hash of its own, is taken."""
    locked = entries(name)
    assert "torch" not in locked
    assert not [package for package in locked if package.startswith(("nvidia", "cuda", "triton"))]
    assert all(" --hash=sha256:" in entry for versions in locked.values() for entry in versions)


@pytest.mark.parametrize("name", ["test", "demo", "build", "board"])
def test_a_smaller_file_has_the_versions_of_the_largest(name: str) -> None:
    """What the board gets is what the tests ran with."""
    largest, kit = entries("all"), {"pip"}
    for package, versions in entries(name).items():
        if package not in kit:
            assert {str(pin(entry).specifier) for entry in versions} <= {
                str(pin(entry).specifier) for entry in largest[package]
            }
