"""The endpoint for Prometheus: with its package, on a port that it may have."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

import pytest

from edge_app.checks import inference, machine, metrics
from edge_app.checks.account import Account, own_account
from edge_app.checks.metrics import check_metrics
from edge_app.exporter import Exporter
from edge_app.settings import MetricsConfig
from tests.broker import free_port

OURS = own_account()


def test_endpoint_that_nobody_asks_for_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is off by default."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert check_metrics(MetricsConfig(), OURS).status == "ok"


@pytest.mark.parametrize(
    ("prefix", "mend"),
    [
        ("/home/me/venv", "pip install 'edge-app[metrics]'"),
        ("/opt/edge-app/versions/1-2", "systemd/make-wheelhouse.sh"),
    ],
)
def test_missing_package_is_told_with_a_way_that_there_is(
    monkeypatch: pytest.MonkeyPatch, prefix: str, mend: str
) -> None:
    """The Python of an installed board has no pip: what it lacks comes with the kit."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "prefix", prefix)
    check = check_metrics(MetricsConfig(port=free_port()), OURS)
    assert check.status == "fail"
    assert mend in check.mend
    assert mend.partition("'")[0] in machine.check_package("no-such-package-here", (1,)).mend
    monkeypatch.setattr(inference, "_LIST_DEVICES", "import os; os.abort()")
    (devices, *_) = inference.check_inference(None, OURS)
    assert ("pip" in devices.mend) == ("pip" in mend)


def test_port_is_free_then_served_by_us() -> None:
    """A running service holds the port, and answers there."""
    config = MetricsConfig(port=free_port())
    assert check_metrics(config, OURS).what.endswith("is free")
    exporter = Exporter(config, "kitchen")
    exporter.poll(0.0)
    try:
        check = check_metrics(config, OURS)
    finally:
        exporter.stop()
    assert (check.status, check.what) == ("ok", f"served at 127.0.0.1 port {config.port}")


def test_port_of_another_program_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not answer, or not as we do."""
    monkeypatch.setattr(metrics, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        check = check_metrics(MetricsConfig(port=server.getsockname()[1]), OURS)
    assert check.status == "fail"
    assert "Address already in use" in check.what
    assert "metrics.port" in check.mend


def test_address_of_another_machine_fails() -> None:
    """192.0.2.0/24 is for examples alone (RFC 5737)."""
    check = check_metrics(MetricsConfig(port=free_port(), address="192.0.2.1"), OURS)
    assert check.status == "fail"
    assert "Cannot assign requested address" in check.what


def test_port_of_roots_fails_for_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root, who asks, could listen there; the service could not."""
    (tmp_path / "least").write_text("1024\n", encoding="ascii")
    monkeypatch.setattr(metrics, "_LEAST_PORT", tmp_path / "least")
    service = Account("edge-app", 64_000, 64_000, frozenset({64_000}))
    check = check_metrics(MetricsConfig(port=80), service)
    assert check.status == "fail"
    assert "ports below 1024 are root's" in check.what
