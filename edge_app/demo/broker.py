"""The demo's own MQTT broker: mosquitto where it is installed, else amqtt, on a free port of loopback.

Either runs as `python -m edge_app.demo.broker PROGRAM PORT PARENT_PID`, a process that ends when the demo does, however
the demo ends. Not for a site: there is no password, and nothing outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edge_app.child import die_with_parent
from edge_app.errors import EdgeAppError

Program = Literal["mosquitto", "amqtt"]
Protocol = Literal["5", "3.1.1"]

PROTOCOLS: dict[Program, Protocol] = {"mosquitto": "5", "amqtt": "3.1.1"}
START_S = 15.0  # amqtt takes 1 s on a fast machine
STOP_S = 3.0
ATTEMPTS = 3  # another program may take the free port before the broker does
LOOPBACK = "127.0.0.1"
SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin"  # where Debian puts mosquitto; not on everybody's PATH


@dataclass(frozen=True)
class Broker:
    """A broker that accepts connections."""

    program: Program
    port: int
    pid: int

    @property
    def protocol(self) -> Protocol:
        """The newest MQTT version it speaks."""
        return PROTOCOLS[self.program]


def installed() -> list[Program]:
    """The brokers on this machine, the better one first."""
    found: list[Program] = []
    if _mosquitto_path():
        found.append("mosquitto")
    if importlib.util.find_spec("amqtt"):
        found.append("amqtt")
    return found


@contextlib.contextmanager
def running_broker(program: Program | None = None) -> Iterator[Broker]:
    """Run a broker (the best one installed, or `program`) until the `with` block ends.

    Raises EdgeAppError if there is none, or if it does not start.
    """
    programs = [program] if program else installed()
    if not programs:
        raise EdgeAppError(
            "The demo needs an MQTT broker and finds none; install mosquitto, or run: pip install 'edge-app[demo]'"
        )
    process, port = _start(programs[0])
    try:
        yield Broker(programs[0], port, process.pid)
    finally:
        _stop(process)


def _start(program: Program) -> tuple[subprocess.Popen[bytes], int]:
    """The process of a broker that accepts connections, and its port."""
    last_words = ""
    for _ in range(ATTEMPTS):
        port = _free_port()
        with tempfile.TemporaryFile() as log_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "edge_app.demo.broker", program, str(port), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                process_group=0,  # Ctrl-C ends the demo, which then ends its broker, last
            )
            if _accepts(process, port):
                return process, port
            _stop(process)
            log_file.seek(0)
            last_words = log_file.read().decode(errors="replace").strip()[-500:]
    raise EdgeAppError(f"The MQTT broker {program} did not start: {last_words or 'it gave no reason'}.")


def _accepts(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the port takes connections; False if the process ends or takes longer than START_S."""
    deadline_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline_s:
        try:
            socket.create_connection((LOOPBACK, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _mosquitto_path() -> str | None:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_FOLDERS}")


# From here on: inside the broker's process.


def main(argv: list[str]) -> None:
    """Become the broker; PROGRAM PORT PARENT_PID."""
    program, port, parent_pid = argv[0], int(argv[1]), int(argv[2])
    die_with_parent(parent_pid)
    if program == "mosquitto":
        _become_mosquitto(port)
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(_serve_amqtt(port))


def _become_mosquitto(port: int) -> None:
    path = _mosquitto_path()
    if path is None:
        raise SystemExit("mosquitto is not installed.")
    lines = [
        f"listener {port} {LOOPBACK}",
        "allow_anonymous true",
        "persistence false",
        "log_type error",
        # Only root's mosquitto looks at this. To become another user would undo die_with_parent, which survives execv
        # but no change of user.
        "user root",
    ]
    fd = os.memfd_create("mosquitto.conf", 0)  # a file without a name leaves nothing to clean up
    os.write(fd, "\n".join(lines).encode())
    os.execv(path, [path, "-c", f"/proc/self/fd/{fd}"])


async def _serve_amqtt(port: int) -> None:
    from amqtt.broker import Broker as AmqttBroker

    listener = {"type": "tcp", "bind": f"{LOOPBACK}:{port}"}
    anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = AmqttBroker({"listeners": {"default": listener}, "plugins": anonymous})
    await broker.start()
    await asyncio.Event().wait()  # until SIGTERM


if __name__ == "__main__":
    main(sys.argv[1:])
