"""Secrets and the configuration: readable by the service, and by nobody who need not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge_app.checks.account import Account, own_account
from edge_app.checks.permissions import check_config_file, check_permissions, check_secret
from edge_app.settings import Config

OURS = own_account()
SERVICE = Account("edge-app", 64_000, frozenset({64_000}))


def config(source: str = "scene:", login: str | None = None, **mqtt: object) -> Config:
    camera = {"name": "door", "source": source, "credentials_file": login}
    tables = {"mqtt": mqtt, "model": {"bundles": ["b"]}, "camera": [camera]}
    return Config.model_validate_json(json.dumps(tables))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.touch()
    return path


@pytest.mark.parametrize(
    ("mode", "source", "mqtt", "status"),
    [
        (0o644, "rtsp://user:hidden@10.0.0.9/door", {}, "fail"),
        (0o640, "rtsp://user:hidden@10.0.0.9/door", {}, "ok"),
        (0o644, "scene:", {"user": "node", "password_file": "/secret"}, "warn"),
        (0o640, "scene:", {"user": "node", "password_file": "/secret"}, "ok"),
        (0o644, "scene:", {}, "ok"),
    ],
)
def test_configuration_with_a_secret_is_not_for_everybody(
    file: Path, mode: int, source: str, mqtt: dict[str, str], status: str
) -> None:
    """A password in a camera's URL is a secret; the path of one is worth hiding; without either nothing is."""
    file.chmod(mode)
    check = check_config_file(file, config(source, **mqtt), OURS)
    assert check.status == status
    assert "hidden" not in check.what + check.mend
    assert ("chmod 640" in check.mend) == (status != "ok")


def test_configuration_that_the_service_cannot_read_fails(file: Path) -> None:
    """Written by root with a tight umask, it would end the service with exit code 78."""
    file.chmod(0o600)
    check = check_config_file(file, config(), SERVICE)
    assert check.status == "fail"
    assert "chgrp edge-app" in check.mend


@pytest.mark.parametrize(
    ("mode", "is_handed_over", "status", "mend"),
    [
        (0o604, True, "fail", "chmod o="),
        (0o600, True, "ok", ""),
        (0o600, False, "fail", "systemd hands it over"),
    ],
)
def test_secret_reaches_the_service_and_nobody_else(
    tmp_path: Path, mode: int, is_handed_over: bool, status: str, mend: str
) -> None:
    """Root's own file is right only in the folder from which systemd hands it over."""
    secret = tmp_path / "mqtt-password"
    secret.touch()
    secret.chmod(mode)
    check = check_secret("mqtt.password_file", secret, SERVICE, tmp_path if is_handed_over else tmp_path / "other")
    assert check.status == status
    assert mend in check.mend


def test_each_secret_is_checked(file: Path, tmp_path: Path) -> None:
    """Password, key and a camera's login; certificates are none."""
    names = {"password_file": "password", "tls_client_cert": "cert", "tls_client_key": "key"}
    paths = {key: str(tmp_path / name) for key, name in names.items()}
    for path in (*paths.values(), str(tmp_path / "login")):
        Path(path).touch(0o600)
    checked = config("rtsp://10.0.0.9/", str(tmp_path / "login"), tls=True, user="node", **paths)
    found = [check.name for check in check_permissions(file, checked, OURS)]
    assert found == ["config file", "mqtt.password_file", "mqtt.tls_client_key", "camera.0.credentials_file"]
