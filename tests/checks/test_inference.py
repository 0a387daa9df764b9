"""The model as the service would load it: with its rights, and as far as it may see."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from edge_app.checks import Check
from edge_app.checks.account import Account, own_account
from edge_app.checks.inference import check_model, list_devices
from edge_app.demo.service import bundle_path
from edge_app.settings import ModelConfig
from tests.processes import ROOT

OK = "edge-app-demo (unsigned): golden sample right on CPU, tried as {}"


@pytest.fixture
def bundle(open_folder: Path) -> Path:
    """A bundle that everybody may read."""
    folder = open_folder / "above" / "bundle"
    shutil.copytree(bundle_path(), folder)
    for path in (folder.parent, folder):
        path.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def checked(bundle: Path, account: Account) -> Check:
    return check_model(ModelConfig(bundles=(bundle,), device="CPU"), account)


def test_model_is_loaded_as_the_service(bundle: Path, open_folder: Path, service: Account) -> None:
    """Where root asks, the process that loads it has the rights of the service; the service's cache stays as it is."""
    cache = open_folder / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    check = check_model(ModelConfig(bundles=(bundle,), device="CPU", cache_dir=cache), service)
    assert check == Check("model", "ok", OK.format("edge-app"))
    assert list(cache.iterdir()) == []
    assert "CPU" in list_devices(service)


@pytest.mark.parametrize(("closed", "mode"), [(".", 0o700), ("..", 0o700), ("vision.bin", 0o600)])
def test_bundle_that_root_alone_may_read_fails(bundle: Path, service: Account, closed: str, mode: int) -> None:
    """The bundle's folder, one above it, a file of it: the service could not load it, although root could."""
    (bundle / closed).chmod(mode)
    check = checked(bundle, service)
    assert check.status == "fail"
    assert "Permission denied" in check.what
    assert check.what.endswith("(Tried as edge-app.)")
    assert "edge-app bundle install" in check.mend


def test_own_eyes_are_named_as_such(bundle: Path) -> None:
    """Who is not root asks for himself alone."""
    assert checked(bundle, own_account()) == Check("model", "ok", OK.format(own_account().eyes))


def test_program_that_the_service_may_not_run_is_tried_as_who_asks(
    bundle: Path, closed_program: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A developer's Python in a home: what was found tells nothing of the service's rights, and is no `ok`."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{sysconfig.get_path('purelib')}")
    check = checked(bundle, Account("edge-app", 64_000, 64_000, frozenset({64_000})))
    assert check.status == "warn"
    assert f"tried as {own_account().eyes}, since edge-app may not run {sys.executable}" in check.what
