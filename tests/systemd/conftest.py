"""A small wheelhouse, and images that the install script has installed into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pip
import pytest

ROOT = Path(__file__).parents[2]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="an installation gives files to root and to the service")

Install = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-wheelhouse.sh makes, but with no libraries: the project's wheel, pip, and the files of systemd/."""
    folder = tmp_path_factory.mktemp("kit")
    wheels = folder / "wheels"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    package = Path(pip.__file__).parent
    with zipfile.ZipFile(wheels / f"pip-{pip.__version__}-py3-none-any.whl", "w") as wheel:
        for path in sorted(package.rglob("*")):
            if path.suffix != ".pyc":
                wheel.write(path, path.relative_to(package.parent))
    shutil.copytree(ROOT / "systemd", folder / "systemd")
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "board.md", folder / "docs")
    shutil.copy(ROOT / "config.toml", folder / "config-sample.toml")
    return folder


@pytest.fixture(scope="session")
def install(kit: Path) -> Install:
    """Run the install script on the root folder of an image, without the libraries."""

    def run(
        image: Path, *options: str, kit: Path = kit, python: str = sys.executable
    ) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            "sh",
            kit / "systemd" / "install.sh",
            "--root",
            image,
            "--no-deps",
            "--python",
            python,
            *options,
        ]
        # Compiling the modules is most of the time that pip takes.
        environ = {**os.environ, "PIP_NO_COMPILE": "1"}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)

    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root folder of an image in which nothing is installed yet."""
    folder = tmp_path / "image"
    (folder / "etc").mkdir(parents=True)
    return folder
