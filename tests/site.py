"""A site as docs/mosquitto/README.md says: its commands make certificates and passwords, its files run the broker."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import tomllib
from pathlib import Path

from paho.mqtt.client import Client

from edge_app.checks.permissions import CREDENTIALS_FOLDER
from tests.broker import Broker, Watcher, free_port

DOCUMENTS = Path(__file__).parents[1] / "docs/mosquitto"
PAGE = DOCUMENTS / "README.md"
FILE_KEYS = {"tls_ca_certs", "tls_client_cert", "tls_client_key", "password_file"}


class Site:
    """The folder of a site's certificates and passwords. The broker's name is 127.0.0.1, and not localhost."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(DOCUMENTS / "openssl.cnf", folder)
        *first, self._revoke = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.S)
        run("".join(first).replace("IP:192.0.2.10", "IP:127.0.0.1"), folder)

    def revoke(self) -> None:
        """Revoke the certificate of the board `workshop`."""
        run(self._revoke, self.folder)

    def expire(self, name: str) -> None:
        """Replace the broker's certificate by one that ended yesterday, as `name`.pem and .key."""
        run(
            f"""
            openssl req -config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc \
                -subj '/CN=broker' -keyout {name}.key -out {name}.csr
            (cat openssl.cnf; echo '[expired]'; echo 'subjectAltName = IP:127.0.0.1') > {name}.cnf
            openssl x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -days -1 \
                -extfile {name}.cnf -extensions expired -out {name}.pem
            """,
            self.folder,
        )

    def password(self, user: str) -> str:
        """The password that was made for `user`."""
        lines = (self.folder / "passwords.txt").read_text(encoding="ascii").splitlines()
        return dict(line.split(":", 1) for line in lines)[user]

    def board_settings(self, name: str, broker: SiteBroker) -> dict[str, str]:
        """The environment of a service with the page's configuration of a board, and its files handed over by systemd.

        Only the broker's address and port are others.
        """
        handed_over = broker.folder / "credentials"
        handed_over.mkdir()
        blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.S)
        tables = next(tables for tables in map(tomllib.loads, blocks) if tables["node"]["id"] == name)
        ports = {None: broker.port, 8884: broker.password_port}
        settings = {**tables["mqtt"], "host": "127.0.0.1", "port": ports[tables["mqtt"].get("port")]}
        for file in (Path(value) for key, value in tables["mqtt"].items() if key in FILE_KEYS):
            # systemd.exec(5): LoadCredential=credentials:FOLDER hands FOLDER/FILE over as credentials_FILE.
            if file.parent == CREDENTIALS_FOLDER:
                shutil.copy(self.folder / file.name, handed_over / f"credentials_{file.name}")
                (handed_over / f"credentials_{file.name}").chmod(0o400)
        environ = {f"EDGE_APP_MQTT__{key.upper()}": str(value) for key, value in settings.items()}
        return {**environ, "EDGE_APP_NODE__ID": name, "CREDENTIALS_DIRECTORY": str(handed_over)}

    def password_file(self, user: str) -> Path:
        """The same as a file for `mqtt.password_file`."""
        path = self.folder / f"{user}.password"
        path.write_text(f"{self.password(user)}\n", encoding="ascii")
        path.chmod(0o400)
        return path


def run(script: str, folder: Path) -> None:
    """Run commands of a shell, each of which has to succeed."""
    done = subprocess.run(["sh", "-euc", script], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


class SiteBroker(Broker):
    """mosquitto with the sample's own files; only paths, ports and the user that it runs as are others."""

    def __init__(self, site: Site, folder: Path, certificate: str = "broker") -> None:
        self.folder = folder
        self.port, self.password_port = free_port(), free_port()
        (folder / "certs").mkdir(parents=True)
        for name in ("ca.pem", "revoked.pem"):
            shutil.copy(site.folder / name, folder / "certs")
        for suffix in (".pem", ".key"):
            shutil.copy(site.folder / f"{certificate}{suffix}", folder / f"certs/broker{suffix}")
        for path in (site.folder / "passwords", DOCUMENTS / "acl"):
            shutil.copy(path, folder)
            (folder / path.name).chmod(0o600)
        sample = (DOCUMENTS / "mosquitto.conf").read_text(encoding="utf-8")
        for documented, here in {
            "/etc/mosquitto/": f"{folder}/",
            "/var/lib/mosquitto/": f"{folder}/",
            "listener 8883": f"listener {self.port} 127.0.0.1",
            "listener 8884": f"listener {self.password_port} 127.0.0.1",
        }.items():
            assert documented in sample
            sample = sample.replace(documented, here)
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"user {Path.home().owner()}\n{sample}", encoding="utf-8")
        self._log = (folder / "mosquitto.log").open("ab")
        self.process = None
        self.start()

    def _is_open(self) -> bool:
        """Both listeners take connections; mosquitto opens them one after the other."""
        with socket.socket() as probe:
            return super()._is_open() and probe.connect_ex(("127.0.0.1", self.password_port)) == 0


def board(site: Site, broker: SiteBroker, name: str, *topics: str) -> Watcher:
    """A client that comes with the certificate of the board `name`."""

    def prepare(client: Client) -> None:
        ca, certificate, key = (str(site.folder / file) for file in ("ca.pem", f"{name}.pem", f"{name}.key"))
        client.tls_set(ca, certificate, key)

    return Watcher(broker.port, *topics, prepare=prepare)


def person(site: Site, broker: SiteBroker, user: str, *topics: str) -> Watcher:
    """A client that comes with the password of `user`."""

    def prepare(client: Client) -> None:
        client.tls_set(str(site.folder / "ca.pem"))
        client.username_pw_set(user, site.password(user))

    return Watcher(broker.password_port, *topics, prepare=prepare)
