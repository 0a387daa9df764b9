"""The unit under a real systemd: the sandbox lets the service work, and systemd does what the unit asks of it.

The installed program is the project's wheel with the libraries of the test's environment, the model is the demo bundle
on the CPU, the camera a drawn one, the broker a real mosquitto that wants a password.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_app.checks import Check
from tests.broker import wait_until
from tests.systemd import container as containers
from tests.systemd.conftest import Install
from tests.systemd.container import PYTHON, Container

pytestmark = pytest.mark.skipif(bool(reason := containers.reason_to_skip()), reason=reason)

UNIT = "edge-app.service"
ALL_WELL = "1 of 1 cameras online, model ready, broker connected"
START_TIMEOUT_S = 120  # generous: other tests may take both cores
WATCHDOG_S = 5
ADDRESS = "10.20.30.40"  # of the container's own loopback, yet no localhost to systemd's filter

CONFIG = """
[node]
id = "board"
[mqtt]
host = "{host}"
user = "board"
password_file = "/etc/edge-app/credentials/mqtt-password"
allow_plaintext_password = true
[model]
bundles = ["{bundle}"]
device = "CPU"
cache_dir = "/var/cache/edge-app"
[display]
backend = "file"
path = "/run/edge-app/overlay.jpg"
[[camera]]
name = "scene"
source = "scene:"
"""


@pytest.fixture(scope="module")
def board(install: Install, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """A booted container with the service installed, configured and running."""
    folder = tmp_path_factory.mktemp("container")
    with containers.overlay(folder) as root:
        done = install(root, python=str(PYTHON))
        assert done.returncode == 0, done.stderr
        packages = next((root / "opt/edge-app/current/lib").glob("python3.*")) / "site-packages"
        (packages / "libraries.pth").write_text("/libraries\n", encoding="ascii")
        configure(root, "127.0.0.1")
        secret = root / "etc/edge-app/credentials/mqtt-password"
        secret.write_text("hidden\n", encoding="ascii")
        secret.chmod(0o600)
        (root / "etc/mosquitto/mosquitto.conf").write_text(
            "listener 1883\nallow_anonymous false\npassword_file /etc/mosquitto/passwords\n", encoding="ascii"
        )
        passwords = root / "etc/mosquitto/passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "board", "hidden"], check=True)
        passwords.chmod(0o644)
        drop_in(root, "test", f"WatchdogSec={WATCHDOG_S}")
        with containers.booted(root, folder / "log", libraries=Path(sysconfig.get_path("purelib"))) as container:
            container.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
            container.run("systemctl", "start", "mosquitto.service", UNIT)
            wait_for_status(container, ALL_WELL)
            yield container


def configure(root: Path, host: str) -> None:
    packages = next((root / "opt/edge-app/current/lib").glob("python3.*")).name
    bundle = f"/opt/edge-app/current/lib/{packages}/site-packages/edge_app/demo/bundle"
    (root / "etc/edge-app/config.toml").write_text(CONFIG.format(host=host, bundle=bundle), encoding="utf-8")


def drop_in(root: Path, name: str, line: str) -> None:
    folder = root / f"etc/systemd/system/{UNIT}.d"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.conf").write_text(f"[Service]\n{line}\n", encoding="ascii")


def wait_for_status(board: Container, wanted: str) -> None:
    try:
        wait_until(lambda: board.show(UNIT, "StatusText") == wanted, wanted, START_TIMEOUT_S)
    except AssertionError as error:
        journal = board.run("journalctl", "--unit", UNIT, "--no-pager", "--lines", "40")
        raise AssertionError(f"{error}\n{journal}") from error


def test_service_works_in_its_sandbox(board: Container) -> None:
    """Camera, model, broker with the password from a file of root's, display: all under the unit's restrictions."""
    assert board.show(UNIT, "StatusText") == ALL_WELL
    command = "mosquitto_sub -u board -P hidden -t edge_app/board/camera/scene/caption -C 1 -W 30"
    assert '"text"' in board.run(*command.split())
    for file in ("/run/edge-app/overlay.jpg", "/var/lib/edge-app/messages.db"):
        assert board.run("ls", "-l", file).startswith("-rw------- 1 edge-app edge-app")


def test_sandbox_is_in_force(board: Container) -> None:
    """No capability, system calls filtered; nothing outside its folders can be written, not even by root."""
    pid = board.show(UNIT, "MainPID")
    status = dict(
        line.split(":\t", 1) for line in board.run("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line
    )
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapEff"], 16), int(status["CapBnd"], 16)) == (
        "1",
        "2",
        0,
        0,
    )
    inside = ["nsenter", "--target", pid, "--mount"]
    for folder in ("/usr", "/etc", "/opt/edge-app", "/var/lib"):
        with pytest.raises(AssertionError, match="Read-only file system"):
            board.run(*inside, "touch", f"{folder}/file")
    for folder in ("/var/lib/edge-app", "/var/cache/edge-app", "/run/edge-app", "/tmp"):
        board.run(*inside, "touch", f"{folder}/file")
        board.run(*inside, "rm", f"{folder}/file")


def doctor(board: Container) -> dict[str, Check]:
    """What `edge-app doctor` finds, asked by root, by the name of the check."""
    lines = board.run(
        "/usr/local/bin/edge-app", "doctor", "--json", "--config", "/etc/edge-app/config.toml", check=False
    )
    checks = [Check(**json.loads(line)) for line in lines.splitlines()]
    return {check.name: check for check in checks}


def test_doctor_finds_nothing_wrong(board: Container) -> None:
    """While the service runs: rights, secret, broker, camera and unit; and it leaves no file behind."""
    cache = board.run("ls", "-l", "/var/cache/edge-app")
    found = doctor(board)
    assert [check for check in found.values() if check.status == "fail"] == []
    assert found["unit state"].what == f"running: {ALL_WELL}"
    assert found["mqtt.password_file"].what.endswith("is handed over by systemd")
    assert found["model"].what.endswith("tried as edge-app")
    assert {
        "unit enabled",
        "unit network",
        "unit folders",
        "metrics",
        "disk /var/lib/edge-app",
        "broker",
        "camera scene",
        "model",
    } <= found.keys()
    assert board.run("ls", "-l", "/var/cache/edge-app") == cache


def test_other_users_are_told_to_use_sudo(board: Container) -> None:
    """The configuration is not theirs to read; that is one sentence, not a traceback."""
    command = "setpriv --reuid 65534 --regid 65534 --clear-groups /usr/local/bin/edge-app check-config"
    said = board.run("sh", "-c", f"cd / && {command} 2>&1", check=False)
    assert said == "edge-app: /etc/edge-app/config.toml may not be read by this user; run the command with sudo.\n"


def test_stopped_process_is_replaced_by_the_watchdog(board: Container) -> None:
    """W1: killed and serving again within WatchdogSec, 7 s, and the time of a start."""
    before = board.show(UNIT, "MainPID")
    board.run("kill", f"-{signal.SIGSTOP.value}", before)
    stopped_s = time.monotonic()
    wait_until(lambda: board.show(UNIT, "MainPID") not in {before, "0"}, "another process", START_TIMEOUT_S)
    replaced_s = time.monotonic() - stopped_s
    assert "watchdog" in board.run("journalctl", "--unit", UNIT, "--no-pager")
    wait_for_status(board, ALL_WELL)
    assert replaced_s < WATCHDOG_S + 7 + 20, "20 s for a start: both cores may be taken"


def test_killed_process_is_started_again(board: Container) -> None:
    """kill -9 of the service is a restart, and nothing of the old one stays."""
    before = board.show(UNIT, "MainPID")
    board.run("kill", "-9", before)
    wait_until(lambda: board.show(UNIT, "MainPID") not in {before, "0"}, "another process", START_TIMEOUT_S)
    wait_for_status(board, ALL_WELL)
    members = board.run("systemctl", "status", "--no-pager", "--lines", "0", UNIT)
    assert members.count("edge_app.model.worker") == 1


def test_wrong_configuration_ends_in_exit_78_and_no_loop(board: Container) -> None:
    """U1: systemd does not start it again until someone has corrected the file."""
    config = board.root / "etc/edge-app/config.toml"
    right = config.read_text(encoding="utf-8")
    board.run("sed", "-i", "s/^host/hots/", "/etc/edge-app/config.toml")
    board.run("systemctl", "restart", UNIT, check=False)
    wait_until(lambda: board.show(UNIT, "ActiveState") == "failed", "the failure", START_TIMEOUT_S)
    assert board.show(UNIT, "ExecMainStatus") == "78"
    restarts = board.show(UNIT, "NRestarts")
    assert "mqtt.hots" in board.run("journalctl", "--unit", UNIT, "--no-pager", "--lines", "20")
    time.sleep(4)  # twice RestartSec: a loop would show
    assert (board.show(UNIT, "ActiveState"), board.show(UNIT, "NRestarts")) == ("failed", restarts)
    found = doctor(board)
    assert "mqtt.hots" in found["configuration"].what
    assert found["unit state"].status == "fail"
    assert "because of its configuration" in found["unit state"].what
    config.write_text(right, encoding="utf-8")
    board.run("systemctl", "start", UNIT)
    wait_for_status(board, ALL_WELL)


def test_service_reaches_only_the_addresses_it_may(board: Container, install: Install) -> None:
    """A broker beside this machine is out of reach until install.sh --broker names it."""
    configure(board.root, ADDRESS)
    board.run("systemctl", "restart", UNIT)
    wait_for_status(board, ALL_WELL.replace("connected", "away"))
    found = doctor(board)
    assert f"--allow {ADDRESS}" in found["unit network"].mend
    assert found["broker"].status == "ok", "the doctor itself is under no filter"
    assert install(board.root, "--broker", ADDRESS, python=str(PYTHON)).returncode == 0
    board.run("systemctl", "daemon-reload")
    board.run("systemctl", "restart", UNIT)
    wait_for_status(board, ALL_WELL)
