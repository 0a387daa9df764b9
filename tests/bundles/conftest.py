"""Two keys, and releases of the demo bundle signed with the first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.signing import Signer, release


@pytest.fixture(scope="session")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Callable[[int], Path]:
    """From a version to the folder of that release, which no test changes."""
    made: dict[int, Path] = {}
    folder = tmp_path_factory.mktemp("releases")

    def make(version: int) -> Path:
        if version not in made:
            made[version] = release(folder / str(version), version, signer)
        return made[version]

    return make


@pytest.fixture
def released(tmp_path: Path, signer: Signer) -> Callable[..., Path]:
    """A release of a test's own: (version, change of the manifest) to its folder."""
    count = 0

    def make(version: int, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Path:
        nonlocal count
        count += 1
        return release(tmp_path / f"release{count}", version, signer, change)

    return make
