"""Which tests run: `--slow`, `--full`, the marks `quick` and `gpu`, and an environment without torch."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

HAS_TORCH = importlib.util.find_spec("torch") is not None
# A test with one of these fixtures exports a bundle, or starts a broker or a service.
NEEDS_TORCH = {"small_checkpoint", "small_bundle", "fullsize_bundle"}
NEEDS_SERVER = {"broker", "start", "site_broker", "kit"}
# Folders and files in which most tests start processes and wait for them.
NOT_QUICK = ("bench", "camera", "demo", "export", "faults", "gpu", "home_assistant", "mqtt", "service", "systemd")
NOT_QUICK_FILES = ("test_display.py", "test_model_client.py", "test_privacy.py", "test_purity.py", "test_record.py")
HEAVY_PACKAGES = {"torch", "transformers", "nncf", "export"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("edge-app")
    group.addoption("--slow", action="store_true", help="also the tests marked slow: benchmarks, the demo's trainer")
    group.addoption("--full", action="store_true", help="full-size tests on 20 photos, not 6; the tests marked full")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out files that import torch where torch is not installed."""
    if HAS_TORCH or collection_path.suffix != ".py":
        return None
    return imports_heavily(collection_path) or None


def imports_heavily(path: Path) -> bool:
    """Return whether a file of tests imports the export stage or its libraries at its top level, also by `tests`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in HEAVY_PACKAGES:
                return True
            module = Path(__file__).parents[1] / f"{name.replace('.', '/')}.py"
            if name.startswith("tests.") and module.is_file() and imports_heavily(module):
                return True
    return False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what was not asked for; begin with the longest tests, so that no worker ends long after the other."""
    left_out = {item for item in items if _left_out(item, config)}
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: not item.get_closest_marker("fullsize"))


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    if _is_quick(item):
        item.add_marker("quick")
    if item.path.parent == Path(__file__).parent / "gpu":
        item.add_marker("gpu")


def _left_out(item: pytest.Item, config: pytest.Config) -> bool:
    if not HAS_TORCH and NEEDS_TORCH & _fixtures(item):
        return True
    return any(item.get_closest_marker(mark) and not config.getoption(f"--{mark}") for mark in ("slow", "full"))


def _is_quick(item: pytest.Item) -> bool:
    place = item.path.relative_to(Path(__file__).parent)
    if place.parts[0] in NOT_QUICK or place.name in NOT_QUICK_FILES:
        return False
    return not (NEEDS_TORCH | NEEDS_SERVER) & _fixtures(item)


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))
