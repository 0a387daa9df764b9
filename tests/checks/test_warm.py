"""`doctor --warm`: what is compiled stays where the service finds it, is the service's, and makes its start short."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_app.checks import Check
from edge_app.checks.account import Account, own_account
from edge_app.checks.warm import check_warm
from edge_app.config import load_config
from edge_app.demo.service import bundle_path
from edge_app.model.bundle import open_bundle
from edge_app.model.compiled_cache import cache_folder
from edge_app.settings import Config
from tests.toml import toml


@pytest.fixture
def config(open_folder: Path) -> Iterator[Config]:
    """A configuration with the demo bundle, on the CPU."""
    bundle = open_folder / "bundle"
    shutil.copytree(bundle_path(), bundle)
    for path in (bundle, *bundle.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (open_folder / "state").mkdir()
    path = open_folder / "config.toml"
    model = {
        "bundles": [str(bundle)],
        "device": "CPU",
        "cache_dir": str(open_folder / "cache"),
        "state_dir": str(open_folder / "state"),
    }
    path.write_text(toml([("[model]", model), ("[[camera]]", {"name": "door", "source": "scene:"})]), "utf-8")
    yield load_config(path)


def warmed(config: Config, account: Account) -> tuple[list[Check], list[str]]:
    steps: list[str] = []
    return list(check_warm(config, account, steps.append)), steps


def test_graphs_are_compiled_once_and_loaded_by_the_next_start(config: Config) -> None:
    """Told step by step, with what it took and how long the next start takes; a second time nothing is rewritten."""
    ((check,), steps) = warmed(config, own_account())
    assert (check.name, check.status) == ("warm", "ok")
    assert check.what.startswith("CPU: all compiled after ") and "the next start takes " in check.what
    label = open_bundle(config.model.bundles[0]).label
    assert steps.count(f"compiling the decoder graph of {label} for CPU") == 2
    assert config.model.cache_dir is not None
    folder = cache_folder(config.model.cache_dir, open_bundle(config.model.bundles[0]).hash)
    blobs = {path: path.stat().st_mtime_ns for path in folder.glob("*.blob")}
    assert len(blobs) == 5
    warmed(config, own_account())
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.blob")} == blobs


def test_what_root_warms_belongs_to_the_service(config: Config, service: Account) -> None:
    """The folder of compiled graphs too, which systemd has not made before the first start."""
    state, cache = config.model.state_dir, config.model.cache_dir
    assert state is not None and cache is not None
    os.chown(state, service.uid, service.gid)
    (check,), _ = warmed(config, service)
    assert check.status == "ok", check
    owned = [cache, *cache.rglob("*")]
    assert len(owned) > 6
    assert {(path.stat().st_uid, path.stat().st_gid) for path in owned} == {(service.uid, service.gid)}
    assert cache.stat().st_mode & 0o777 == 0o750


def test_a_service_that_holds_its_folder_is_told(config: Config) -> None:
    """What is compiled beside it is not kept: nothing is, before minutes are spent on it."""
    cache = config.model.cache_dir
    assert cache is not None
    folder = cache_folder(cache, open_bundle(config.model.bundles[0]).hash)
    folder.mkdir(parents=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        (check,), steps = warmed(config, own_account())
    finally:
        os.close(descriptor)
    assert (check.status, steps) == ("warn", [])
    assert "The service is running and holds " in check.what and "systemctl stop edge-app" in check.mend


def test_without_a_folder_nothing_can_be_kept(config: Config) -> None:
    """A sentence with the key, and nothing is loaded."""
    model = config.model.model_copy(update={"cache_dir": None})
    (check,), steps = warmed(config.model_copy(update={"model": model}), own_account())
    assert (check.status, steps) == ("fail", [])
    assert "model.cache_dir" in check.mend


def test_a_bundle_that_cannot_be_loaded_is_the_reason(config: Config) -> None:
    """In the words of the model's process."""
    model = config.model.model_copy(update={"bundles": (Path("/nowhere"),)})
    (check,), _ = warmed(config.model_copy(update={"model": model}), own_account())
    assert check.status == "fail" and "/nowhere" in check.what


@pytest.mark.skipif(os.geteuid() != 0, reason="only root asks for another user")
def test_a_program_that_the_service_may_not_run_compiles_nothing(config: Config, closed_program: None) -> None:
    """Files of root's in its folder would bar the service from writing there."""
    (check,), steps = warmed(config, Account("edge-app", 64_000, 64_000, frozenset({64_000})))
    assert (check.status, steps) == ("fail", [])
    assert "edge-app may not run this program" in check.what
    assert config.model.cache_dir is not None and not config.model.cache_dir.exists()
