"""The systemd unit: installed, started at boot, running, and letting the service have what it needs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_app.checks import Check
from edge_app.checks.sandbox import UNIT, UNIT_FOLDERS, check_hidden, check_network_filter
from edge_app.settings import Config

EXIT_CONFIG = "78"
MANY_RESTARTS = 3
_PROPERTIES = ("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "StatusText")


def check_unit(config: Config | None, root: Path = Path("/")) -> Iterator[Check]:
    """All checks of this file; a machine on which the unit is not installed is no fault."""
    if not any((root / folder / UNIT).exists() for folder in UNIT_FOLDERS):
        yield Check("unit", "ok", f"{UNIT} is not installed here")
        return
    yield check_enabled(root)
    if (root / "run/systemd/system").is_dir():
        yield judge(properties())
    if config is not None:
        yield from check_network_filter(config, root)
        yield check_hidden(config, root)


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
