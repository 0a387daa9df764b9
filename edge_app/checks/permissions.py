"""The configuration and the files it names: the service can read them, and not everybody can read a secret."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge_app.checks import Check
from edge_app.checks.account import SERVICE_USER, Account
from edge_app.settings import Config, without_credentials

# What lies here systemd reads as root and hands to the service (LoadCredential= of systemd/edge-app.service).
CREDENTIALS_FOLDER = Path("/etc/edge-app/credentials")


def check_permissions(
    path: Path, config: Config, account: Account, handed_over: Path = CREDENTIALS_FOLDER
) -> Iterator[Check]:
    """The configuration in `path` and each file that it names; those in `handed_over` come from systemd."""
    yield check_config_file(path, config, account)
    for key, certificates in public_files(config).items():
        yield check_readable(key, certificates, account, handed_over)
    for key, secret in secrets(config).items():
        yield check_secret(key, secret, account, handed_over)


def public_files(config: Config) -> dict[str, Path]:
    """Each certificate that the configuration names, by its key."""
    named = {"mqtt.tls_ca_certs": config.mqtt.tls_ca_certs, "mqtt.tls_client_cert": config.mqtt.tls_client_cert}
    return {key: path for key, path in named.items() if path is not None}


def secrets(config: Config) -> dict[str, Path]:
    """Each secret that the configuration names, by its key."""
    named = {"mqtt.password_file": config.mqtt.password_file, "mqtt.tls_client_key": config.mqtt.tls_client_key}
    for number, camera in enumerate(config.camera):
        named[f"camera.{number}.credentials_file"] = camera.credentials_file
    return {key: path for key, path in named.items() if path is not None}


def check_config_file(path: Path, config: Config, account: Account) -> Check:
    """A configuration with a password in a camera's URL is a secret itself."""
    name, mend = "config file", _for_the_service_alone(path, account)
    if not account.may(path, os.R_OK):
        if not account.may(path.absolute().parent, os.X_OK):
            mend = "Put it into /etc/edge-app, which the service may enter."
        return Check(name, "fail", f"{path} cannot be read by the service's user {account.name}.", mend)
    if not path.stat().st_mode & stat.S_IROTH:
        return Check(name, "ok", f"{path} is not open to everybody")
    if any(camera.source != without_credentials(camera.source) for camera in config.camera):
        return Check(name, "fail", f"{path} holds a camera's password, and every user here can read it.", mend)
    if secrets(config):
        return Check(name, "warn", f"{path} tells every user here where the secrets are.", mend)
    return Check(name, "ok", f"{path} holds no secret")


def _for_the_service_alone(path: Path, account: Account) -> str:
    """The command that takes a file from everybody, and gives it to the service's group where there is one."""
    group = account.name or SERVICE_USER
    try:
        grp.getgrnam(group)
    except KeyError:
        return f"Run: sudo chmod o= {path}"
    return f"Run: sudo chgrp {group} {path}; sudo chmod 640 {path}"


def check_secret(name: str, secret: Path, account: Account, handed_over: Path = CREDENTIALS_FOLDER) -> Check:
    """The service can read it (or is handed a copy), and nobody else but root."""
    if secret.stat().st_mode & 0o007:
        return Check(name, "fail", f"{secret} is open to every user of this machine.", f"Run: sudo chmod o= {secret}")
    return check_readable(name, secret, account, handed_over)


def check_readable(name: str, path: Path, account: Account, handed_over: Path = CREDENTIALS_FOLDER) -> Check:
    """The service can read it, or is handed a copy."""
    if path.parent == handed_over:
        return Check(name, "ok", f"{path} is handed over by systemd")
    if not account.may(path, os.R_OK):
        return Check(
            name,
            "fail",
            f"{path} cannot be read by the service's user {account.name}.",
            f"Run: sudo mv {path} {handed_over}/, and name it there: systemd hands it over.",
        )
    return Check(name, "ok", f"{path} can be read by the service")
