"""The real service for the demo: its configuration, its process, its shipped bundle."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_app.demo.broker import LOOPBACK, Broker
from edge_app.errors import EdgeAppError

NODE = "demo"
CAMERA = "scene"
SCENE_SEED = 22  # begins with four objects, clear and close together
SCENE = f"scene:seed={SCENE_SEED}"
RULES = {"star": "is there a star?", "triangle": "is there a triangle?"}  # asked by the service itself, every second
STOP_S = 8.0  # the service says farewell to the broker within 5 s
LOG_TAIL_LINES = 8

# What `python -m edge_app run --config FILE` does, and besides, end when the demo is killed.
_RUN = (
    "import sys\n"
    "from edge_app.child import die_with_parent\n"
    "die_with_parent(int(sys.argv[1]))\n"
    "from edge_app.__main__ import main\n"
    "sys.exit(main(['run', '--config', sys.argv[2]]))\n"
)


@dataclass(frozen=True)
class Service:
    """A started service."""

    process: subprocess.Popen[bytes]
    log_path: Path

    def last_words(self) -> str:
        """The end of its log."""
        return "\n".join(self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:])


def bundle_path() -> Path:
    """The bundle that comes with this package. EdgeAppError if it is not there."""
    path = Path(str(importlib.resources.files("edge_app.demo"))) / "bundle"
    if not (path / "manifest.json").is_file():
        raise EdgeAppError(f"The demo's bundle is missing at {path}; install a released edge-app, which carries it.")
    return path


def write_config(folder: Path, broker: Broker, bundle: Path, cache_dir: Path | None = None) -> Path:
    """Write the demo's configuration to `folder` and return its path; `cache_dir` keeps compiled graphs."""
    tables: dict[str, dict[str, object]] = {
        "[node]": {"id": NODE},
        "[mqtt]": {"host": LOOPBACK, "port": broker.port, "protocol": broker.protocol},
        "[model]": {"bundles": [str(bundle)], **({"cache_dir": str(cache_dir.absolute())} if cache_dir else {})},
        "[store]": {"dir": str(folder / "state")},
        "[caption]": {"interval_s": 1},
        "[[camera]]": {"name": CAMERA, "source": SCENE, "width_px": 480, "height_px": 480, "fps": 10},
        "[display]": {"backend": "file", "path": str(overlay_path(folder))},
    }
    rules: list[tuple[str, dict[str, object]]] = [
        ("[[rule]]", {"id": name, "question": question}) for name, question in RULES.items()
    ]
    lines: list[str] = []
    for header, table in [*tables.items(), *rules]:
        lines += [header, *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()), ""]
    path = folder / "config.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def overlay_path(folder: Path) -> Path:
    """Where the demo's display writes its picture."""
    return folder / "overlay.png"


@contextlib.contextmanager
def running_service(config: Path) -> Iterator[Service]:
    """Run the service until the `with` block ends; its log goes beside its configuration."""
    log_path = config.with_name("service.log")
    # A setting in the environment would win over the demo's file.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("EDGE_APP_")}
    with log_path.open("wb") as log_file:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(os.getpid()), str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
            env=environ,
            process_group=0,  # Ctrl-C reaches the demo alone, which ends the service in order
        )
    try:
        yield Service(process, log_path)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
