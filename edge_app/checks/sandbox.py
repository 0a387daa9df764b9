"""What the systemd unit keeps from the service: addresses of the network, and folders."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from edge_app.checks import Check
from edge_app.checks.cameras import file_of
from edge_app.checks.permissions import public_files, secrets
from edge_app.settings import Config, without_credentials

UNIT = "edge-app.service"
# Where systemd looks for units, first the operator's (systemd.unit(5)).
UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What IPAddressAllow= takes beside addresses (systemd.resource-control(5)).
_NAMED_NETWORKS = {
    "any": ("0.0.0.0/0", "::/0"),
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}
# What a setting hides, and the values with which it does not (systemd.exec(5)).
_HIDDEN = {
    "ProtectHome": (("/home", "/root", "/run/user"), ("", "no", "false", "off", "0", "read-only")),
    "PrivateTmp": (("/tmp", "/var/tmp"), ("", "no", "false", "off", "0")),
}


def check_network_filter(config: Config, root: Path = Path("/")) -> Iterator[Check]:
    """Whether the unit's address filter lets the service reach its broker and its network cameras."""
    name, allowed = "unit network", allowed_networks(root)
    if allowed is None:
        yield Check(name, "ok", "the unit has no address filter")
        return
    yield _check_host(name, "broker", config.mqtt.host, allowed)
    for camera in config.camera:
        # A login, in which people write what they like, is of no use here. A pipeline may name several addresses.
        for url in re.findall(r"[a-z]+://[^\s\"']+", without_credentials(camera.source)):
            with contextlib.suppress(ValueError):  # the check of the camera says what is wrong with the address
                if host := urlsplit(url).hostname:
                    yield _check_host(f"{name} {camera.name}", f"camera {camera.name} at", host, allowed)


def _check_host(name: str, whom: str, host: str, allowed: list[Network]) -> Check:
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        return Check(
            name,
            "warn",
            f"The address of the {whom} {host} is unknown here ({error}).",
            "Correct the name, or write the address.",
        )
    closed = [text for text in sorted(found) if not any(ipaddress.ip_address(text) in net for net in allowed)]
    if len(closed) < len(found):
        return Check(name, "ok", f"{host} is among the addresses that the service may talk to")
    return Check(
        name,
        "fail",
        f"The unit does not let the service talk to the {whom} {host} ({', '.join(closed)}).",
        f"Run: sudo sh systemd/install.sh --allow {closed[0]} (it takes a network such as 10.0.0.0/24 as well).",
    )


def allowed_networks(root: Path) -> list[Network] | None:
    """What IPAddressAllow= of the unit and its drop-ins names; None if IPAddressDeny= denies nothing."""
    if not _words("IPAddressDeny", root):
        return None
    texts = [text for word in _words("IPAddressAllow", root) for text in _NAMED_NETWORKS.get(word, (word,))]
    networks = []
    for text in texts:
        with contextlib.suppress(ValueError):  # systemd, too, passes over what is no address
            networks.append(ipaddress.ip_network(text, strict=False))
    return networks


def check_hidden(config: Config, root: Path = Path("/")) -> Check:
    """Whether what the configuration names lies where the unit lets the service look: /home and /root are hidden."""
    name, hidden = "unit folders", hidden_folders(root)
    named = {f"model.bundles.{number}": path for number, path in enumerate(config.model.bundles)}
    named |= {**public_files(config), **secrets(config)}
    for number, camera in enumerate(config.camera):
        if (file := file_of(camera.source)) is not None:
            named[f"camera.{number}.source"] = file
    for key, path in named.items():
        ways = path.absolute(), Path(os.path.realpath(path))
        if found := [folder for folder in hidden if any(way.is_relative_to(folder) for way in ways)]:
            return Check(
                name,
                "fail",
                f"{key}: {path} is in {found[0]}, which the unit hides from the service.",
                "Move it to /var/lib/edge-app (a bundle: sudo edge-app bundle install BUNDLE; a password, key or "
                "certificate: /etc/edge-app/credentials), and name it there.",
            )
    return Check(name, "ok", "what the configuration names is where the service may look")


def hidden_folders(root: Path) -> list[Path]:
    """The folders that the service sees empty, or not at all."""
    return [
        Path(folder)
        for key, (folders, harmless) in _HIDDEN.items()
        if (_words(key, root) or [""])[-1] not in harmless
        for folder in folders
    ]


def _words(key: str, root: Path) -> list[str]:
    """All values of a setting of the unit and its drop-ins, in their order; an empty one begins the list anew."""
    unit = next(path for folder in UNIT_FOLDERS if (path := root / folder / UNIT).exists())
    drop_ins = [path for folder in UNIT_FOLDERS for path in (root / folder / f"{UNIT}.d").glob("*.conf")]
    words: list[str] = []
    for path in (unit, *sorted(drop_ins, key=lambda path: path.name)):
        for value in re.findall(rf"^{key}=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            words = [*words, *value.split()] if value.strip() else []
    return words
