"""`edge-app cameras`: what is there, for people and for programs, and the lines that configure it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tomllib

import pytest

from edge_app.camera.devices import Device, FrameSize
from edge_app.commands import cameras
from edge_app.settings import CameraConfig

HD, VGA = FrameSize(1280, 720, (30.0, 10.0)), FrameSize(640, 480, (30.0,))
WEBCAM = Device(
    path="/dev/video0",
    by_id="/dev/v4l/by-id/usb-046d_HD_Webcam-video-index0",
    by_path=None,
    card="HD Webcam: HD Webcam",
    driver="uvcvideo",
    bus="usb-0000:00:14.0-1",
    formats={"YUYV": (), "MJPG": (FrameSize(1920, 1080, (30.0,)), HD, VGA)},
    unusable=("H264",),
)
CLOSED = Device("/dev/video2", None, None, "", "", "", {}, (), "cannot be opened: Permission denied")
SENSOR = Device("/dev/video4", None, None, "ipu6", "isys", "PCI", {}, ("BG10",), "gives only BG10, which is no picture")


def camera(card: str = "Cam", **formats: tuple[FrameSize, ...]) -> Device:
    return Device("/dev/video6", None, "/dev/v4l/by-path/usb-1", card, "uvcvideo", "usb", formats)


def shown(
    devices: list[Device], *, as_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setattr(cameras, "list_devices", lambda: devices)
    assert cameras.run(argparse.Namespace(json=as_json)) == 0
    return capsys.readouterr().out


def test_camera_is_told_with_its_formats_and_rates(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Product, driver, and each format with its sizes and rates; what cannot be used is said to be so."""
    text = shown([WEBCAM], as_json=False, capsys=capsys, monkeypatch=monkeypatch)
    assert "/dev/video0  HD Webcam: HD Webcam (uvcvideo, usb-0000:00:14.0-1)" in text
    assert "MJPG  1920x1080 (30 fps), 1280x720 (30/10 fps), 640x480 (30 fps)" in text
    assert "YUYV  sizes unknown" in text
    assert "not usable: H264" in text


def test_the_lines_for_the_configuration_are_a_camera_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed from [[camera]] on can be copied into config.toml; two of a kind get names of their own."""
    twin = camera("HD Webcam", MJPG=(VGA,))
    broken = dataclasses.replace(WEBCAM, path="/dev/video1", problem="is broken")
    text = shown([WEBCAM, broken, twin], as_json=False, capsys=capsys, monkeypatch=monkeypatch)
    lines = [line for line in text.splitlines() if line.startswith("  [[camera]]") or " = " in line]
    tables = tomllib.loads("\n".join(lines))["camera"]
    assert [CameraConfig(**table).name for table in tables] == ["hd-webcam", "hd-webcam-2"]
    assert [CameraConfig(**table).source for table in tables] == [WEBCAM.by_id, "/dev/v4l/by-path/usb-1"]


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (WEBCAM, (1280, 720, 15)),  # 1920x1080 costs more and shows the model nothing; half of its frames are used
        (camera(MJPG=(VGA,), YUYV=(HD,)), (640, 480, 15)),  # MJPG is what the camera will be asked for
        (camera(YUYV=(FrameSize(2592, 1944, (5.0,)), FrameSize(1600, 1200, (8.0,)))), (1600, 1200, 8)),
        (camera(YUYV=(FrameSize(4096, 4096, (), from_px=(2, 2)),)), (1280, 720, 15)),
        (camera(YUYV=(FrameSize(640, 400, (60.0, 1.0), from_px=(640, 400)),)), (640, 400, 15)),
        (camera(YUYV=()), None),
    ],
)
def test_a_size_is_proposed_that_the_camera_has(device: Device, expected: tuple[int, int, int] | None) -> None:
    """The largest up to 1280x720, else the smallest; 15 frames a second, or what it has of them."""
    table = cameras.proposal(device, "cam")
    assert table is not None
    size = (table["width_px"], table["height_px"], table["fps"]) if "fps" in table else None
    assert size == expected


def test_closed_device_is_told_with_the_mend(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device without rights is listed, with its reason and the group to join; a raw sensor only with its reason."""
    text = shown([CLOSED], as_json=False, capsys=capsys, monkeypatch=monkeypatch)
    assert "Permission denied" in text
    assert "usermod -aG video" in text
    text = shown([SENSOR], as_json=False, capsys=capsys, monkeypatch=monkeypatch)
    assert text == "/dev/video4  ipu6 (isys, PCI)  gives only BG10, which is no picture\n"


@pytest.mark.parametrize("problem", ["", "gives nothing"])
def test_what_a_device_says_of_itself_moves_no_cursor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """Control sequences and line breaks in the names of a USB device are shown, and not obeyed."""
    device = dataclasses.replace(
        WEBCAM, card="Cam\x1b]0;pwn\x07\x1b[2J", bus="usb\n/dev/video9", unusable=("H\x1b[6",), problem=problem
    )
    text = shown([device], as_json=False, capsys=capsys, monkeypatch=monkeypatch)
    assert "Cam\\x1b]0;pwn\\x07\\x1b[2J (uvcvideo, usb\\n/dev/video9)" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_no_camera_is_a_clear_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing found is said, with what to do."""
    assert "No V4L2 camera" in shown([], as_json=False, capsys=capsys, monkeypatch=monkeypatch)


def test_json_is_one_object_a_camera(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs get every field and the proposal, and no line at all where there is no camera."""
    lines = shown([WEBCAM, CLOSED], as_json=True, capsys=capsys, monkeypatch=monkeypatch).splitlines()
    webcam, closed = map(json.loads, lines)
    assert (webcam["path"], closed["path"]) == ("/dev/video0", "/dev/video2")
    assert webcam["formats"]["MJPG"][1] == {"width_px": 1280, "height_px": 720, "fps": [30.0, 10.0], "from_px": None}
    assert webcam["config"]["source"] == WEBCAM.by_id
    assert closed["config"] is None
    assert shown([], as_json=True, capsys=capsys, monkeypatch=monkeypatch) == ""
