"""`edge-app doctor`: each thing that can be wrong is found, and its mend is named."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from edge_app.checks import Check, inference, machine
from edge_app.checks.inference import check_gpu, check_model, list_devices
from edge_app.checks.machine import LEAST_VERSIONS, check_clock, check_disk, check_memory, check_package
from edge_app.checks.surroundings import check_broker, check_camera
from edge_app.demo.broker import running_broker
from edge_app.settings import CameraConfig, Config, ModelConfig

ROOT = Path(__file__).parent.parent


def config(port: int, **mqtt: object) -> Config:
    tables = {
        "mqtt": {"host": "127.0.0.1", "port": port, **mqtt},
        "model": {"bundles": ["nowhere"]},
        "camera": [{"name": "door", "source": "file:nothing.png"}],
    }
    return Config.model_validate_json(json.dumps(tables))


def test_least_versions_are_those_of_the_package() -> None:
    """The doctor asks for what pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = (re.fullmatch(r"([\w-]+)>=([\d.]+)(,.*)?", text) for text in project["dependencies"])
    assert {found[1]: machine.version_numbers(found[2]) for found in asked if found} == LEAST_VERSIONS
    assert machine.version_numbers(project["requires-python"].removeprefix(">=")) == machine.LEAST_PYTHON


@pytest.mark.parametrize(
    ("version", "numbers"), [("5.0.0.93", (5, 0, 0, 93)), ("2.4rc1", (2, 4)), ("11", (11,)), ("unknown", ())]
)
def test_versions_are_numbers(version: str, numbers: tuple[int, ...]) -> None:
    """Versions compare as numbers: 0.9 is older than 0.22, although the text "0.9" sorts after it."""
    assert machine.version_numbers(version) == numbers


@pytest.mark.parametrize(
    ("package", "least", "status"),
    [("numpy", (2, 0), "ok"), ("numpy", (999,), "fail"), ("no-such-package-here", (1,), "fail")],
)
def test_package_is_there_and_new_enough(package: str, least: tuple[int, ...], status: str) -> None:
    """A missing or old package fails, and the mend is the command that installs it."""
    check = check_package(package, least)
    assert check.status == status
    assert ("pip install" in check.mend) == (status == "fail")


@pytest.mark.parametrize(("available_mib", "status"), [(8000, "ok"), (1499, "warn"), (499, "fail")])
def test_memory_is_judged_by_what_is_available(tmp_path: Path, available_mib: int, status: str) -> None:
    """MemAvailable counts, not MemFree: the page cache gives way."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: {available_mib * 1024} kB\n")
    assert check_memory(meminfo).status == status


def test_disk_of_a_folder_to_come_is_that_of_its_parent(tmp_path: Path) -> None:
    """A cache folder that the service will make is no fault."""
    assert check_disk(tmp_path / "cache" / "deeper").status == "ok"


def test_disk_that_is_full_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room fails, with the figure."""
    monkeypatch.setattr(machine, "TOO_FEW_DISK_MIB", 2**40)
    monkeypatch.setattr(machine, "FEW_DISK_MIB", 2**40)
    assert check_disk(tmp_path).status == "fail"


def test_folder_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service could not write its cache or picture there. (The tests may run as root, who may write anywhere.)"""
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = check_disk(tmp_path)
    assert check.status == "fail"
    assert str(tmp_path) in check.mend


def test_kernels_clock_is_read_by_the_right_layout() -> None:
    """The fields sit where the kernel writes them: the seconds that follow `status` are those of now."""
    values = machine.read_timex()
    assert values is not None
    assert values.seconds == pytest.approx(time.time(), abs=2)


@pytest.mark.parametrize(("status", "is_synchronised"), [(0x2001, True), (0x2041, False)])
def test_kernels_word_is_one_bit(status: int, is_synchronised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """STA_UNSYNC (0x40) among the other bits of the status decides."""
    monkeypatch.setattr(machine, "read_timex", lambda: machine.Timex(status=status))
    assert machine.kernel_clock_is_synchronised() is is_synchronised


def test_clock_that_timesyncd_has_set_is_synchronised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark of systemd-timesyncd is enough; without it the kernel's word counts, and a wrong clock only warns."""
    monkeypatch.setattr(machine, "kernel_clock_is_synchronised", lambda: False)
    monkeypatch.setattr(machine, "TIMESYNC_MARK", tmp_path / "synchronized")
    assert check_clock().status == "warn"
    (tmp_path / "synchronized").touch()
    assert check_clock().status == "ok"


def test_openvino_lists_the_cpu() -> None:
    """The list comes from a process of its own, since a GPU driver may crash in it."""
    assert "CPU" in list_devices()


def test_openvino_that_crashes_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that takes its process down does not take the doctor down."""
    monkeypatch.setattr(inference, "_LIST_DEVICES", "import os; os.abort()")
    assert list_devices() == {}


@pytest.mark.parametrize(("is_wanted", "status"), [(True, "fail"), (False, "warn")])
def test_missing_gpu_fails_only_where_it_is_asked_for(tmp_path: Path, is_wanted: bool, status: str) -> None:
    """With device = "AUTO" the CPU does the work, so a board without GPU has no fault."""
    check = check_gpu(has_gpu=False, is_wanted=is_wanted, nodes=tmp_path)
    assert check.status == status
    assert "renderD128" in check.what


def test_render_node_without_rights_names_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commonest fault of a new board: the user is not in the group of the render node."""
    (tmp_path / "renderD128").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    check = check_gpu(has_gpu=False, is_wanted=True, nodes=tmp_path)
    assert re.search(r"usermod -aG \w+ \$USER", check.mend)


def test_render_node_without_compute_packages_names_them(tmp_path: Path) -> None:
    """The node is open but OpenVINO finds no GPU: the user-space driver is missing."""
    (tmp_path / "renderD128").touch()
    assert "intel-opencl-icd" in check_gpu(has_gpu=False, is_wanted=True, nodes=tmp_path).mend


def test_missing_bundle_fails_with_the_models_own_reason(tmp_path: Path) -> None:
    """What the model's process would say at its start is what the doctor says."""
    check = check_model(ModelConfig(bundles=(tmp_path / "nowhere",)))
    assert check.status == "fail"
    assert "nowhere" in check.what


def test_demo_bundle_passes_its_golden_sample() -> None:
    """The shipped bundle verifies and computes rightly on this machine."""
    from edge_app.demo.service import bundle_path

    check = check_model(ModelConfig(bundles=(bundle_path(),), device="CPU"))
    assert (check.status, check.mend) == ("ok", "")
    assert check.what == "edge-app-demo (unsigned): golden sample right on CPU"


def test_camera_that_gives_frames_is_ok(tmp_path: Path) -> None:
    """The source is really opened, by the process that the service would start."""
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.full((48, 64, 3), 128, np.uint8))
    check = check_camera(CameraConfig(name="door", source=f"file:{picture}"))
    assert check.status == "ok", check


def test_camera_that_does_not_open_fails(tmp_path: Path) -> None:
    """The reason is the camera's own, and names the source."""
    check = check_camera(CameraConfig(name="door", source=f"file:{tmp_path}/missing.mp4"))
    assert check.status == "fail"
    assert "missing.mp4" in check.what


def test_broker_that_accepts_is_ok_and_left_as_it_was() -> None:
    """The doctor connects under a name of its own and leaves no message: a running service goes undisturbed."""
    heard: queue.SimpleQueue[MQTTMessage] = queue.SimpleQueue()
    with running_broker() as broker:
        client = Client(CallbackAPIVersion.VERSION2)
        client.on_message = lambda _client, _data, message: heard.put(message)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        client.subscribe("#", 1)
        assert check_broker(config(broker.port, protocol=broker.protocol)).status == "ok"
        client.publish("end", b"", qos=1)
        assert heard.get(timeout=10).topic == "end", "the doctor's last will or another message came first"
        client.disconnect()
        client.loop_stop()


def test_broker_that_is_not_there_fails_with_the_systems_words() -> None:
    """Nobody listens on port 1."""
    check = check_broker(config(1))
    assert check.status == "fail"
    assert "127.0.0.1:1" in check.what
    assert "refused" in check.what


def test_broker_without_tls_fails_where_tls_is_asked_for() -> None:
    """The doctor speaks TLS exactly where the service would."""
    with running_broker() as broker:
        assert check_broker(config(broker.port, tls=True)).status == "fail"


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_app", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)


def test_json_is_one_check_a_line_and_the_exit_code_says_that_one_failed(tmp_path: Path) -> None:
    """Each line is one check; each that is not ok has a mend; a wrong configuration is a finding, exit code 1."""
    path = tmp_path / "config.toml"
    path.write_text("[mqtt]\nport = 70000\nhots = 'x'\n")
    done = doctor("--json", "--config", str(path))
    checks = [Check(**json.loads(line)) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    problems = [check for check in checks if check.name == "configuration"]
    assert any("mqtt.port" in check.what for check in problems)
    assert any("mqtt.hots" in check.what for check in problems)
    assert all(check.mend for check in checks if check.status != "ok")
    assert all(check.what for check in checks)


def test_text_names_the_mend_below_what_is_wrong(tmp_path: Path) -> None:
    """A person reads what failed and, on the next line, what to do."""
    done = doctor("--config", str(tmp_path / "missing.toml"))
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    failure = next(number for number, line in enumerate(lines) if line.startswith("fail"))
    assert lines[failure + 1].lstrip().startswith("->")
