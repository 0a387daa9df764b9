"""The board never needs torch: nothing of the runtime imports it, even where it is installed."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = ("torch", "transformers", "nncf", "export")

RUN = f"""
import sys
from pathlib import Path
import numpy as np
from edge_app.model.loading import load_models
model = load_models([Path(sys.argv[1])], device="CPU").serving("vqa")
encoding = model.encode(np.zeros((50, 60, 3), np.uint8))
print(model.caption(encoding).text, model.answer(encoding, "is there a dog?").text)
import pkgutil, importlib, edge_app
for module in pkgutil.walk_packages(edge_app.__path__, "edge_app."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
loaded = sorted(name for name in sys.modules if name.split(".")[0] in {FORBIDDEN})
assert not loaded, loaded
"""


@pytest.mark.parametrize("package", FORBIDDEN[:3])
def test_the_packages_are_installed_here(package: str) -> None:
    """The next test proves something only where an import of torch would succeed."""
    assert importlib.util.find_spec(package)


def test_running_the_runtime_loads_no_torch(small_bundle: Callable[..., Path]) -> None:
    """A fresh interpreter loads a bundle, captions, answers and imports every module of edge_app."""
    run = subprocess.run(
        [sys.executable, "-c", RUN, str(small_bundle("vqa"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_the_export_imports_only_the_runtimes_model_and_pictures() -> None:
    """`export` may use edge_app.model (parity runs the board's own loop), the picture loader and the demo's world."""
    rooms = ("edge_app.model", "edge_app.demo", "edge_app.camera.files", "edge_app.errors")
    for path in (ROOT / "export").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            for name in names:
                if name.startswith("edge_app."):
                    assert any(name == room or name.startswith(f"{room}.") for room in rooms), f"{path}: {name}"
