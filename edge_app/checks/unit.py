"""The systemd unit: installed, started at boot, running, and allowed to reach the broker."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_app.checks import Check
from edge_app.settings import Config

UNIT = "edge-app.service"
# Where systemd looks for units, first the operator's (systemd.unit(5)).
UNIT_FOLDERS = ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system")
EXIT_CONFIG = "78"
MANY_RESTARTS = 3
_PROPERTIES = ("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "StatusText")

# What IPAddressAllow= takes beside addresses (systemd.resource-control(5)).
_NAMED_NETWORKS = {
    "any": ("0.0.0.0/0", "::/0"),
    "localhost": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/64"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
}


def check_unit(config: Config | None, root: Path = Path("/")) -> Iterator[Check]:
    """All checks of this file; a machine on which the unit is not installed is no fault."""
    if not any((root / folder / UNIT).exists() for folder in UNIT_FOLDERS):
        yield Check("unit", "ok", f"{UNIT} is not installed here")
        return
    yield check_enabled(root)
    if (root / "run/systemd/system").is_dir():
        yield judge(properties())
    if config is not None:
        yield check_network_filter(config, root)


def check_enabled(root: Path = Path("/")) -> Check:
    """Whether the service starts with the machine."""
    if any((folder / UNIT).is_symlink() for folder in (root / "etc/systemd/system").glob("*.wants")):
        return Check("unit enabled", "ok", "starts with the machine")
    return Check(
        "unit enabled", "warn", f"{UNIT} does not start with the machine.", "Run: sudo systemctl enable edge-app"
    )


def properties() -> dict[str, str]:
    """What systemd knows of the unit; empty if it cannot be asked."""
    command = ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", UNIT]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(line.partition("=")[::2] for line in told.splitlines())


def judge(state: Mapping[str, str]) -> Check:
    """What the unit's state means."""
    name, log = "unit state", "Run: journalctl -u edge-app -n 50"
    active, restarts = state.get("ActiveState", "unknown"), int(state.get("NRestarts") or 0)
    if active == "failed":
        if state.get("ExecMainStatus") != EXIT_CONFIG:
            return Check(name, "fail", f"{UNIT} has failed ({state.get('Result')}).", log)
        found = f"{UNIT} has ended because of its configuration, and waits for another one."
        mend = "Correct what `edge-app check-config` names, then: sudo systemctl restart edge-app"
        return Check(name, "fail", found, mend)
    if state.get("SubState") == "auto-restart" or (active != "active" and restarts >= MANY_RESTARTS):
        return Check(name, "fail", f"{UNIT} ends again and again ({restarts} restarts, {state.get('Result')}).", log)
    if active != "active":
        return Check(name, "warn", f"{UNIT} is {active}.", "Run: sudo systemctl start edge-app")
    found = f"running: {state.get('StatusText') or 'no word from it yet'}"
    if restarts >= MANY_RESTARTS:
        return Check(name, "warn", f"{found}; restarted {restarts} times since it was started.", log)
    return Check(name, "ok", found)


def check_network_filter(config: Config, root: Path = Path("/")) -> Check:
    """Whether the unit's address filter lets the service reach its broker."""
    name, host = "unit network", config.mqtt.host
    allowed = allowed_networks(root)
    if allowed is None:
        return Check(name, "ok", "the unit has no address filter")
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError as error:
        return Check(name, "warn", f"The address of {host} is unknown here ({error}).", "See the broker check.")
    closed = [text for text in sorted(found) if not any(ipaddress.ip_address(text) in net for net in allowed)]
    if len(closed) < len(found):
        return Check(name, "ok", f"{host} is among the addresses that the service may talk to")
    return Check(
        name,
        "fail",
        f"The unit does not let the service talk to the broker {host} ({', '.join(closed)}).",
        f"Run: sudo sh systemd/install.sh --allow {closed[0]} (it takes a network such as 10.0.0.0/24 as well).",
    )


def allowed_networks(root: Path) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network] | None:
    """What IPAddressAllow= of the unit and its drop-ins names; None if IPAddressDeny= denies nothing."""
    unit = next(path for folder in UNIT_FOLDERS if (path := root / folder / UNIT).exists())
    drop_ins = [path for folder in UNIT_FOLDERS for path in (root / folder / f"{UNIT}.d").glob("*.conf")]
    words: dict[str, list[str]] = {"Allow": [], "Deny": []}
    for path in (unit, *sorted(drop_ins, key=lambda path: path.name)):
        for kind, value in re.findall(r"^IPAddress(Allow|Deny)=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            # An empty value begins the list anew.
            words[kind] = [*words[kind], *value.split()] if value.strip() else []
    if not words["Deny"]:
        return None
    texts = [text for word in words["Allow"] for text in _NAMED_NETWORKS.get(word, (word,))]
    networks = []
    for text in texts:
        with contextlib.suppress(ValueError):  # systemd, too, passes over what is no address
            networks.append(ipaddress.ip_network(text, strict=False))
    return networks
