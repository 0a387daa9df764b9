"""The list of V4L2 devices: numbers as the kernel has them, and a /dev without cameras."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_app.camera import devices
from edge_app.camera.devices import list_devices


@pytest.mark.parametrize(
    ("number", "kernel"),
    [
        (devices.VIDIOC_QUERYCAP, 0x8068_5600),
        (devices.VIDIOC_ENUM_FMT, 0xC040_5602),
        (devices.VIDIOC_ENUM_FRAMESIZES, 0xC02C_564A),
        (devices.VIDIOC_ENUM_FRAMEINTERVALS, 0xC034_564B),
    ],
    ids=["QUERYCAP", "ENUM_FMT", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS"],
)
def test_requests_are_the_kernels(number: int, kernel: int) -> None:
    """Each number equals that of linux/videodev2.h, with the size of its struct (0x68, 0x40, 0x2C, 0x34) in it."""
    assert number == kernel


def test_no_devices_is_an_empty_list(tmp_path: Path) -> None:
    """A machine without cameras, or a container without /dev, has none."""
    assert list_devices(tmp_path) == []
    assert list_devices(tmp_path / "missing") == []


def test_other_names_are_no_devices(tmp_path: Path) -> None:
    """Only video and a number is a device's name."""
    for name in ("video", "videos", "video0.bak", "video1x", "xvideo0"):
        (tmp_path / name).touch()
    assert list_devices(tmp_path) == []


def test_a_node_that_is_no_camera_is_told_with_its_problem(tmp_path: Path) -> None:
    """A file named as a device is listed by number, with what the system says of it, and its stable link."""
    for number in (10, 9):
        (tmp_path / f"video{number}").write_bytes(b"")
    by_id = tmp_path / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-camera").symlink_to("../../video9")
    found = list_devices(tmp_path)
    assert [device.path for device in found] == [str(tmp_path / "video9"), str(tmp_path / "video10")]
    assert [device.by_id for device in found] == [str(by_id / "usb-camera"), None]
    assert {device.problem for device in found} == {"is no V4L2 device: Inappropriate ioctl for device"}


def test_a_node_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """A dangling node keeps its place in the list, with the reason."""
    (tmp_path / "video0").symlink_to(tmp_path / "gone")
    assert [device.problem for device in list_devices(tmp_path)] == ["cannot be opened: No such file or directory"]


def test_a_camera_without_a_link_by_id_is_named_by_its_socket(tmp_path: Path) -> None:
    """Of two equal cameras one has the link by id; the other one's stays that of its socket, and then its number."""
    for number in (0, 2, 4):
        (tmp_path / f"video{number}").touch()
    for folder, number in (("by-id", 0), ("by-path", 0), ("by-path", 2)):
        (tmp_path / "v4l" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "v4l" / folder / f"usb-{number}").symlink_to(f"../../video{number}")
    names = ["v4l/by-id/usb-0", "v4l/by-path/usb-2", "video4"]
    assert [device.source for device in list_devices(tmp_path)] == [str(tmp_path / name) for name in names]
