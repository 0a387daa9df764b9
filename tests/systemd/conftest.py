"""A kit with small libraries, and images that the install script has installed into."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pip
import pytest

ROOT = Path(__file__).parents[2]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="an installation gives files to root and to the service")

Install = Callable[..., subprocess.CompletedProcess[str]]

# What install.sh imports of each library to see that it loads, or a user of the extra does.
LIBRARIES = {
    "openvino": "openvino",
    "opencv-python": "cv2",
    "numpy": "numpy",
    "tokenizers": "tokenizers",
    "paho-mqtt": "paho/mqtt/client",
    "pydantic": "pydantic",
    "Pillow": "PIL",
    "cryptography": "cryptography",
    "pygame-ce": "pygame",
    "prometheus-client": "prometheus_client",
}


def write_wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> None:
    """Write a wheel for every Python (packaging.python.org, "Binary distribution format")."""
    stem = f"{name.replace('-', '_')}-{version}"
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
        for path, text in about.items():
            wheel.writestr(f"{stem}.dist-info/{path}", text)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for pip to find libraries in: pip itself, and empty ones under the names of those that we need.

    requirements.txt pins all of them with hashes, as requirements/board.txt does the real ones.
    """
    folder = tmp_path_factory.mktemp("registry")
    package = Path(pip.__file__).parent
    files = {path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    contents = {str(path.relative_to(package.parent)): path.read_bytes() for path in sorted(files)}
    write_wheel(folder, "pip", pip.__version__, contents)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for wanted in (*project["dependencies"], *extras["display"], *extras["metrics"]):
        name, _, least = wanted.split(",")[0].partition(">=")
        write_wheel(folder, name, least, {f"{LIBRARIES[name]}.py": b""})
    pins = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        pins.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    pins.append(f"for-another-python==1 ; python_version < '3' --hash=sha256:{64 * '0'}\n")
    (folder / "requirements.txt").write_text("".join(pins))
    return folder


@pytest.fixture(scope="session")
def kit(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What make-wheelhouse.sh makes, with libraries of `registry`."""
    folder = tmp_path_factory.mktemp("kit")
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(registry),
    }
    command: list[str | Path] = ["sh", ROOT / "systemd" / "make-wheelhouse.sh", folder]
    command += ["--requirements", registry / "requirements.txt"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def install(kit: Path) -> Install:
    """Run the install script on the root folder of an image; without the libraries, unless `libraries` says so."""

    def run(
        image: Path, *options: str, kit: Path = kit, python: str = sys.executable, libraries: bool = False
    ) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            "sh",
            kit / "systemd" / "install.sh",
            "--root",
            image,
            "--python",
            python,
            *options,
        ]
        if not libraries:
            command.append("--no-deps")
        # Compiling the modules is most of the time that pip takes.
        environ = {**os.environ, "PIP_NO_COMPILE": "1"}
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)

    return run


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root folder of an image with a Python where this machine has its own, and nothing else installed yet."""
    folder = tmp_path / "image"
    (folder / "etc").mkdir(parents=True)
    python = folder / Path(sys.executable).resolve().relative_to("/")
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)  # nobody starts it here
    return folder
