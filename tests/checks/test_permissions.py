"""Secrets and the configuration: readable by the service, and by nobody who need not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge_app.checks.account import Account, own_account
from edge_app.checks.permissions import check_config_file, check_permissions, check_secret
from edge_app.settings import Config

OURS = own_account()
SERVICE = Account("edge-app", 64_000, 64_000, frozenset({64_000}))
WITH_A_GROUP = Account("daemon", 64_000, 64_000, frozenset({64_000}))  # a group of that name is on every machine


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
    assert ("chmod" in check.mend) == (status != "ok")


@pytest.mark.parametrize(
    ("account", "mend"),
    [(WITH_A_GROUP, "Run: sudo chgrp daemon {0}; sudo chmod 640 {0}"), (SERVICE, "Run: sudo chmod o= {0}")],
)
def test_group_is_named_only_where_there_is_one(open_folder: Path, account: Account, mend: str) -> None:
    """Where the service is not installed, a chgrp to its group would fail."""
    file = open_folder / "config.toml"
    file.touch()
    file.chmod(0o644)
    check = check_config_file(file, config("rtsp://user:hidden@10.0.0.9/door"), account)
    assert check.mend == mend.format(file)


def test_configuration_that_the_service_cannot_read_fails(open_folder: Path) -> None:
    """Written by root with a tight umask, or in a folder of root's, it would end the service with exit code 78."""
    file = open_folder / "config.toml"
    file.touch()
    file.chmod(0o600)
    check = check_config_file(file, config(), WITH_A_GROUP)
    assert check.status == "fail"
    assert "chgrp daemon" in check.mend
    file.chmod(0o644)
    assert check_config_file(file, config(), WITH_A_GROUP).status == "ok"
    open_folder.chmod(0o700)
    check = check_config_file(file, config(), WITH_A_GROUP)
    assert check.status == "fail"
    assert "/etc/edge-app" in check.mend


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


def test_each_file_is_checked(file: Path, tmp_path: Path) -> None:
    """Certificates are read by the service as password, key and a camera's login are."""
    names = {"tls_ca_certs": "ca", "password_file": "password", "tls_client_cert": "cert", "tls_client_key": "key"}
    paths = {key: str(tmp_path / name) for key, name in names.items()}
    for path in (*paths.values(), str(tmp_path / "login")):
        Path(path).touch(0o600)
    checked = config("rtsp://10.0.0.9/", str(tmp_path / "login"), user="node", **paths)
    found = [check.name for check in check_permissions(file, checked, OURS)]
    mqtt = ["mqtt.tls_ca_certs", "mqtt.tls_client_cert", "mqtt.password_file", "mqtt.tls_client_key"]
    assert found == ["config file", *mqtt, "camera.0.credentials_file"]


@pytest.mark.parametrize(
    ("mode", "folder_mode", "status"), [(0o644, 0o755, "ok"), (0o600, 0o755, "fail"), (0o644, 0o700, "fail")]
)
def test_certificate_is_for_the_service_too(open_folder: Path, mode: int, folder_mode: int, status: str) -> None:
    """Made under `umask 077` and copied by root, or in a folder of root's, it would end the service; open it may be."""
    certificate = open_folder / "ca.pem"
    certificate.touch()
    certificate.chmod(mode)
    open_folder.chmod(folder_mode)
    check = next(
        check
        for check in check_permissions(certificate, config(tls_ca_certs=str(certificate)), SERVICE)
        if check.name == "mqtt.tls_ca_certs"
    )
    assert check.status == status
    assert ("systemd hands it over" in check.mend) == (status == "fail")


def test_link_is_judged_by_what_it_leads_to(open_folder: Path) -> None:
    """A link from an open folder into a closed one opens nothing; nor does one in a closed folder to an open file."""
    for name, mode in {"open": 0o755, "closed": 0o700}.items():
        (open_folder / name).mkdir()
        (open_folder / name / "file").touch(0o644)
        (open_folder / name).chmod(mode)
    (open_folder / "open/link").symlink_to(open_folder / "closed/file")
    (open_folder / "closed/link").symlink_to(open_folder / "open/file")
    assert SERVICE.may(open_folder / "open/file", os.R_OK)
    assert not SERVICE.may(open_folder / "open/link", os.R_OK)
    assert not SERVICE.may(open_folder / "closed/link", os.R_OK)
