"""Where this machine keeps what it has learnt."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder(named: Path | None) -> Path:
    """Where this machine keeps what it has learnt: the folder that was named, systemd's, or the customary one."""
    # systemd separates several by colons; the first one is the service's own.
    return named or Path(os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or "/var/lib/edge-app")
