"""A real systemd as the first process of a container, in namespaces and over an overlay of this machine's files.

Nothing it does is seen outside: its changes lie in a tmpfs, and its network is a loopback of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.broker import wait_until

PYTHON = Path("/usr/bin/python3")  # outside of /home and /root, which the unit hides from the service
BOOT_TIMEOUT_S = 120
COMMAND_TIMEOUT_S = 180  # the doctor loads a model
TRACES = ("etc/edge-app", "opt/edge-app", "var/lib/edge-app", "var/cache/edge-app")  # of a service on this machine


def reason_to_skip() -> str:
    """Why this machine cannot run a container; "" if it can."""
    if os.geteuid() != 0:
        return "a container with a systemd of its own needs root"
    for program in ("systemd-nspawn", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        return "the kernel has no overlay file system"
    asked = "import sys; print(sys.version_info[:2])"
    versions = {subprocess.check_output([python, "-c", asked]) for python in (PYTHON, sys.executable)}
    return "" if len(versions) == 1 else f"{PYTHON} is of another version than that of the tests"


class Container:
    """A running container; `root` is its file system, as seen from here."""

    def __init__(self, root: Path, leader_pid: int) -> None:
        self.root = root
        self._leader_pid = leader_pid

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in it, as root; its output. CalledProcessError if it fails and `check` is set."""
        entered = ["nsenter", "--target", str(self._leader_pid), "--all", *command]
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        done = subprocess.run(
            entered, env=environ, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S
        )
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def show(self, unit: str, key: str) -> str:
        """One property of a unit, as `systemctl show` tells it."""
        return self.run("systemctl", "show", "--value", "--property", key, unit).strip()


@contextmanager
def overlay(folder: Path) -> Iterator[Path]:
    """This machine's root file system, with changes that lie in memory and are gone at the end."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", folder], check=True)
    try:
        for name in ("changes", "work", "root"):
            (folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={folder}/changes,workdir={folder}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", layers, "overlay", folder / "root"], check=True)
        try:
            for trace in TRACES:
                shutil.rmtree(folder / "root" / trace, ignore_errors=True)
            (folder / "root/etc/machine-id").write_text("uninitialized\n", encoding="ascii")
            yield folder / "root"
        finally:
            subprocess.run(["umount", folder / "root"], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def booted(root: Path, log: Path, **binds: Path) -> Iterator[Container]:
    """Boot `root` to basic.target; shut it down at the end. `binds`: read-only folders, by their name under /."""
    command = ["systemd-nspawn", "--directory", str(root), "--boot", "--register=no", "--keep-unit"]
    command += ["--private-network", "--console=pipe", "--link-journal=no", "--kill-signal=SIGRTMIN+3"]
    # systemd filters addresses and devices with BPF programs, which a container may load only if told so.
    command += ["--capability=CAP_BPF", "--system-call-filter=bpf"]
    command += [f"--bind-ro={path}:/{name}" for name, path in binds.items()]
    command += ["--", "systemd.unit=basic.target", "systemd.log_target=journal"]
    environ = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    with log.open("wb") as output:
        nspawn = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")

        def leader() -> Container | None:
            assert nspawn.poll() is None, log.read_text(errors="replace")
            pids = children.read_text(encoding="ascii").split()
            container = Container(root, int(pids[0])) if pids else None
            is_up = container and container.run("systemctl", "is-active", "basic.target", check=False) == "active\n"
            return container if is_up else None

        container = wait_until(leader, "systemd to boot", BOOT_TIMEOUT_S)
        assert isinstance(container, Container)
        yield container
    finally:
        nspawn.send_signal(signal.SIGTERM)  # asks the systemd in it to shut down
        try:
            nspawn.wait(20)
        except subprocess.TimeoutExpired:
            nspawn.kill()  # and with it all of the container
            nspawn.wait()
