"""A world of its own for each row: processes, mounts and network that end with it, so that a row may break them all.

A row runs as process 1 of a new PID namespace: when it is killed, whatever it started is gone too. Its network is an
empty one with a loopback interface, where packets may be dropped (M4); its mounts are private, so a full or a read-only
disk (S2, S5) is nobody else's. Root has this by itself, others by a user namespace where the machine allows it.
"""

from __future__ import annotations

import functools
import os
import subprocess

UNSHARE = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


@functools.cache
def entrance() -> tuple[str, ...]:
    """The beginning of a command line that runs in a new world; empty where this machine allows none."""
    command = UNSHARE if os.geteuid() == 0 else (*UNSHARE, "--map-root-user")
    try:
        done = subprocess.run([*command, "true"], capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return command if done.returncode == 0 else ()


def open_loopback() -> None:
    """Bring up the loopback interface of a new network; harmless where it is up."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
