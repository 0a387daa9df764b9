"""Cameras: the usual mistakes are told apart, on the fake V4L2 device and with real processes."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.checks import Check
from edge_app.checks.account import Account
from edge_app.checks.cameras import check_camera, processes_using
from edge_app.settings import CameraConfig
from tests.broker import free_port
from tests.fake_camera import COMPILER, FakeCamera
from tests.processes import ROOT

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="the fake camera is compiled on the spot")

_CHECK = """
import dataclasses, json, sys
from pathlib import Path
from edge_app.checks.cameras import check_camera
from edge_app.settings import CameraConfig
check = check_camera(CameraConfig(name="door", source=sys.argv[1]), root=Path(sys.argv[2]))
print(json.dumps(dataclasses.asdict(check)))
"""


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> FakeCamera:
    return FakeCamera(tmp_path_factory.mktemp("camera"))


@pytest.fixture
def playing(camera: FakeCamera) -> Iterator[FakeCamera]:
    camera.tell("play")
    yield camera
    camera.tell("play")


def checked(camera: FakeCamera, source: object) -> Check:
    """The check as a process makes it that sees the fake device."""
    command = [sys.executable, "-c", _CHECK, f"v4l2:{source}", str(camera.dev.parent)]
    environ = {**os.environ, **camera.environ}
    done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return Check(**json.loads(done.stdout))


@needs_compiler
def test_camera_that_gives_frames_is_ok(playing: FakeCamera) -> None:
    """Opened by its stable link, up to the first frame."""
    check = checked(playing, playing.link)
    assert check.status == "ok", check
    assert "320x240" in check.what


@needs_compiler
def test_metadata_node_is_told_with_the_capture_node_in_its_place(playing: FakeCamera) -> None:
    """Of the two nodes of a USB camera the wrong one was named."""
    playing.tell("metadata")
    check = checked(playing, playing.path)
    assert check.status == "fail"
    assert "metadata" in check.what
    assert "capture node" in check.mend


@needs_compiler
def test_camera_that_is_not_there_is_told_with_those_that_are(playing: FakeCamera) -> None:
    """The mend is the line for the configuration."""
    check = checked(playing, playing.dev / "video7")
    assert check.status == "fail"
    assert "is not there" in check.what
    assert f'source = "{playing.link}"' in check.mend


@needs_compiler
def test_a_raw_sensor_is_told_with_a_usable_node_in_its_place(playing: FakeCamera) -> None:
    """A node of a MIPI camera's own opens and gives frames that are no pictures: it is told before it is tried."""
    sensor = playing.add(5, "BG10 1280 720 30")
    check = checked(playing, sensor)
    sensor.unlink()
    assert check.status == "fail"
    assert "gives only BG10, which is no picture yet" in check.what
    assert f'source = "{playing.link}"' in check.mend


def proc_with(folder: Path, pid: int, device: Path, command: str) -> Path:
    """The entry of a /proc in which one process holds a device."""
    entry = folder / "proc" / str(pid)
    (entry / "fd").mkdir(parents=True)
    (entry / "fd" / "3").symlink_to(device)
    (entry / "cmdline").write_bytes(command.replace(" ", "\0").encode())
    return entry


@needs_compiler
@pytest.mark.parametrize(
    ("command", "status", "word"),
    [
        ("cheese --fullscreen", "fail", "process 4711 (cheese --fullscreen) holds it"),
        ("python -m edge_app.camera.worker --link-fd 9", "ok", "running service"),
    ],
)
def test_camera_that_another_program_holds_is_told_with_its_name(
    playing: FakeCamera, command: str, status: str, word: str
) -> None:
    """A stranger is a fault; the running service is none."""
    entry = proc_with(playing.dev.parent, 4711, playing.path, command)
    check = checked(playing, playing.link)
    shutil.rmtree(entry)
    assert check.status == status
    assert word in check.what


def test_process_that_holds_a_file_is_found(tmp_path: Path) -> None:
    """By the real /proc: another process, and not this one."""
    device = tmp_path / "video0"
    device.touch()
    command = [
        sys.executable,
        "-c",
        "import sys; f = open(sys.argv[1]); print('open', flush=True); input()",
        str(device),
    ]
    with (
        device.open("rb"),
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        assert list(processes_using(device)) == [holder.pid]
        holder.communicate("\n")


def test_camera_that_the_service_may_not_use_names_the_group(tmp_path: Path) -> None:
    """The node is there, for a group that the service's user is not in."""
    node = tmp_path / "dev" / "video0"
    node.parent.mkdir()
    node.touch()
    node.chmod(0o660)
    account = Account("edge-app", 64_000, 64_000, frozenset({64_000}))
    check = check_camera(CameraConfig(name="door", source=f"v4l2:{node}"), account, tmp_path)
    assert check.status == "fail"
    assert "may not be used by the service's user edge-app" in check.what
    assert "usermod -aG" in check.mend


def test_file_that_gives_frames_is_ok(tmp_path: Path) -> None:
    """The source is really opened, by the process that the service would start."""
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.full((48, 64, 3), 128, np.uint8))
    check = check_camera(CameraConfig(name="door", source=f"file:{picture}"))
    assert check.status == "ok", dataclasses.asdict(check)


def test_file_that_is_not_there_is_told_as_such(tmp_path: Path) -> None:
    """It has neither cable nor password."""
    check = check_camera(CameraConfig(name="door", source=f"file:{tmp_path}/missing.mp4"))
    assert check.status == "fail"
    assert f"There is no file or folder {tmp_path}/missing.mp4" in check.what
    assert "cable" not in check.mend


def test_file_that_the_service_may_not_read_is_told(open_folder: Path) -> None:
    """Root would open it."""
    (open_folder / "video.mp4").touch()
    (open_folder / "video.mp4").chmod(0o600)
    account = Account("edge-app", 64_000, 64_000, frozenset({64_000}))
    check = check_camera(CameraConfig(name="door", source=f"file:{open_folder}/video.mp4"), account)
    assert check.status == "fail"
    assert "may not be read by the service's user edge-app" in check.what


def test_source_that_does_not_open_fails() -> None:
    """The reason is the camera's own, and names the source."""
    check = check_camera(CameraConfig(name="door", source=f"http://127.0.0.1:{free_port()}/door"))
    assert check.status == "fail"
    assert "http://127.0.0.1" in check.what
    assert "cable" in check.mend
