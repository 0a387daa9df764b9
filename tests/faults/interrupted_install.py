"""An install that kills itself: `python -m tests.faults.interrupted_install SOURCE STATE KEY NUMBER`.

It ends by SIGKILL right before its change NUMBER of the file system (Python's audit events tell of each). With NUMBER 0
it comes to its end and prints how many changes that took.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from edge_app.bundles.install import install
from edge_app.bundles.store import Store
from edge_app.minisign import parse_public_key

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "os.chown"}


def main(argv: list[str]) -> int:
    """Install without a trial, which changes nothing of the store."""
    source, state, key, number = Path(argv[0]), Path(argv[1]), parse_public_key(argv[2]), int(argv[3])
    count = 0

    def on_event(event: str, values: tuple[Any, ...]) -> None:
        nonlocal count
        if event in CHANGES or (event == "open" and values[2] & (os.O_WRONLY | os.O_RDWR)):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_event)
    install(source, Store(state), trusted_keys=[key], try_out=lambda _: None)
    print(count)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
