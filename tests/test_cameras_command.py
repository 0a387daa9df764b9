"""`edge-app cameras`: what is there, for people and for programs."""

from __future__ import annotations

import argparse
import json

import pytest

from edge_app.camera.devices import Device
from edge_app.commands import cameras

WEBCAM = Device(
    path="/dev/video0",
    by_id="/dev/v4l/by-id/usb-046d_HD_Webcam-video-index0",
    card="HD Webcam",
    driver="uvcvideo",
    bus="usb-0000:00:14.0-1",
    formats={"MJPG": ["1280x720", "640x480"], "YUYV": []},
)
CLOSED = Device("/dev/video2", None, "", "", "", {}, "cannot be opened: Permission denied")


def shown(
    devices: list[Device], *, as_json: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setattr(cameras, "list_devices", lambda: devices)
    assert cameras.run(argparse.Namespace(json=as_json)) == 0
    return capsys.readouterr().out


def test_camera_is_told_with_its_formats_and_its_stable_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line for the configuration names the link that survives replugging."""
    text = shown([WEBCAM], as_json=False, capsys=capsys, monkeypatch=monkeypatch)
    assert "HD Webcam" in text
    assert "MJPG  1280x720, 640x480" in text
    assert f'source = "{WEBCAM.by_id}"' in text


def test_closed_device_is_told_with_the_mend(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device without rights is listed, with its reason and the group to join."""
    text = shown([CLOSED], as_json=False, capsys=capsys, monkeypatch=monkeypatch)
    assert "Permission denied" in text
    assert "usermod -aG video" in text


def test_no_camera_is_a_clear_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing found is said, with what to do."""
    assert "No V4L2 camera" in shown([], as_json=False, capsys=capsys, monkeypatch=monkeypatch)


def test_json_is_one_object_a_camera(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs get every field, and no line at all where there is no camera."""
    lines = shown([WEBCAM, CLOSED], as_json=True, capsys=capsys, monkeypatch=monkeypatch).splitlines()
    assert [json.loads(line)["path"] for line in lines] == ["/dev/video0", "/dev/video2"]
    assert json.loads(lines[0])["formats"] == WEBCAM.formats
    assert shown([], as_json=True, capsys=capsys, monkeypatch=monkeypatch) == ""
