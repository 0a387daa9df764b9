"""V4L2 as OpenCV and the device list speak it, against a device that is made of answers (tests/fake_v4l2.c)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from tests.fake_camera import COMPILER, FakeCamera
from tests.streams import picture

if TYPE_CHECKING:
    from tests.camera.conftest import Watched

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler to make the fake device")

# The layouts and numbers that edge_app.camera.devices writes down, as the kernel's own header has them.
HEADER_CHECK = """
#include <linux/videodev2.h>
#include <stdio.h>
#define TELL(name) printf("%s %lu\\n", #name, (unsigned long)(name))
int main(void) {
    TELL(VIDIOC_QUERYCAP); TELL(VIDIOC_ENUM_FMT); TELL(VIDIOC_ENUM_FRAMESIZES);
    TELL(VIDIOC_ENUM_FRAMEINTERVALS);
    printf("BUF_TYPE_VIDEO_CAPTURE %d\\n", V4L2_BUF_TYPE_VIDEO_CAPTURE);
    printf("BUF_TYPE_VIDEO_CAPTURE_MPLANE %d\\n", V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE);
    printf("CAP_VIDEO_CAPTURE %u\\n", V4L2_CAP_VIDEO_CAPTURE);
    printf("CAP_VIDEO_CAPTURE_MPLANE %u\\n", V4L2_CAP_VIDEO_CAPTURE_MPLANE);
    printf("CAP_DEVICE_CAPS %u\\n", V4L2_CAP_DEVICE_CAPS);
    printf("FRAME_SIZE_DISCRETE %d\\n", V4L2_FRMSIZE_TYPE_DISCRETE);
    printf("FRAME_INTERVAL_DISCRETE %d\\n", V4L2_FRMIVAL_TYPE_DISCRETE);
    return 0;
}
"""

LIST = """
import dataclasses, json, sys
from pathlib import Path
from edge_app.camera.devices import list_devices
print(json.dumps([dataclasses.asdict(device) for device in list_devices(Path(sys.argv[1]))]))
"""


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCamera:
    """A fake camera that is seen by every process started from now on."""
    made = FakeCamera(tmp_path)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


def listed(dev: Path) -> list[dict[str, Any]]:
    run = subprocess.run([sys.executable, "-c", LIST, str(dev)], capture_output=True, text=True, check=True)
    devices: list[dict[str, Any]] = json.loads(run.stdout)
    return devices


def test_numbers_are_the_kernels(tmp_path: Path) -> None:
    """Request codes (with the sizes of the structures in them) and constants agree with linux/videodev2.h."""
    from edge_app.camera import devices

    assert COMPILER is not None
    source, program = tmp_path / "check.c", tmp_path / "check"
    source.write_text(HEADER_CHECK, encoding="ascii")
    subprocess.run([COMPILER, "-o", program, source], check=True)
    told = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == 11
    for name, number in map(str.split, told):
        assert getattr(devices, name) == int(number), name


def test_device_is_listed_with_its_formats_and_link(camera: FakeCamera) -> None:
    """What the driver tells, and the link by id that stays the camera's."""
    assert listed(camera.dev) == [
        {
            "path": str(camera.path),
            "by_id": str(camera.link),
            "by_path": None,
            "card": "Fake Camera",
            "driver": "fake",
            "bus": "platform:fake",
            "formats": {"MJPG": [{"width_px": 320, "height_px": 240, "fps": [25.0], "from_px": None}]},
            "unusable": [],
            "problem": "",
        }
    ]


def test_devices_are_listed_by_what_each_can(camera: FakeCamera) -> None:
    """Sizes and rates by format, fastest first; what OpenCV cannot use apart; metadata nodes not at all."""
    camera.add(1, "metadata")
    camera.add(2, "YUYV 640 480 30", "YUYV 640 480 15", "MJPG 1280 720 10", "MJPG 1280 720 30", "H264 1920 1080 30")
    camera.add(3, "BG10 4096 3072 30")
    found = {Path(device["path"]).name: device for device in listed(camera.dev)}
    assert list(found) == ["video0", "video2", "video3"]
    formats = {
        name: [(size["width_px"], size["height_px"], size["fps"]) for size in sizes]
        for name, sizes in found["video2"]["formats"].items()
    }
    assert formats == {"YUYV": [(640, 480, [30.0, 15.0])], "MJPG": [(1280, 720, [30.0, 10.0])]}
    assert (found["video2"]["unusable"], found["video2"]["problem"]) == (["H264"], "")
    assert found["video3"]["formats"] == {}
    assert "gives only BG10, which is no picture yet" in found["video3"]["problem"]


def test_node_that_is_no_v4l2_device_is_listed_with_its_problem(tmp_path: Path) -> None:
    """A file that only looks like a camera is told, not hidden; names that only begin alike are none."""
    for name in ("video7", "video-notes", "video10"):
        (tmp_path / name).touch()
    first, second = listed(tmp_path)
    assert first["path"].endswith("video7")
    assert second["path"].endswith("video10")
    assert "is no V4L2 device" in first["problem"]


def test_metadata_node_is_left_out(camera: FakeCamera) -> None:
    """UVC cameras have a second node without pictures; its own capabilities tell, not those of the whole device."""
    camera.tell("metadata")
    assert listed(camera.dev) == []


def test_no_device_is_an_empty_list(tmp_path: Path) -> None:
    """A machine without cameras, and even without /dev, has none."""
    assert listed(tmp_path) == []
    assert listed(tmp_path / "absent") == []


def test_what_was_got_is_told_beside_what_was_asked(camera: FakeCamera, watch: Callable[..., Watched]) -> None:
    """The camera knows one size and rate; frames come, and the difference is said."""
    watched = watch(f"v4l2:{camera.path}", width_px=1280, height_px=720, fps=15)
    watched.until_frames(10)
    detail = watched.supervisor.info["detail"]
    assert "asked 1280x720 MJPG 15 fps, got 320x240 MJPG 25 fps" in detail
    info = watched.supervisor.buffer.latest_info()
    assert info is not None
    assert (info.width_px, info.height_px) == (320, 240)


@pytest.mark.parametrize(
    ("lines", "got"),
    [
        (["YUYV 640 480 30", "MJPG 640 480 30", "MJPG 1280 720 30", "MJPG 1280 720 15"], "1280x720 MJPG 15 fps"),
        (["MJPG 640 480 30", "MJPG 1920 1080 30"], "640x480 MJPG 30 fps"),
        (["YUYV 320 240 30", "YUYV 1280 720 10"], "1280x720 YUYV 10 fps"),
        (["H264 1920 1080 30", "YUYV 640 480 5"], "640x480 YUYV 5 fps"),
    ],
    ids=["as asked", "no such size", "no MJPG", "first format unusable"],
)
def test_the_format_asked_for_is_taken_where_the_camera_has_it(
    camera: FakeCamera, watch: Callable[..., Watched], lines: list[str], got: str
) -> None:
    """Format, size, rate as asked, or what the camera makes of it; the frames have the size that is told."""
    path = camera.add(1, *lines)
    size = got.partition(" ")[0]
    width_px, height_px = map(int, size.split("x"))
    cv2.imwrite(camera.environ["FAKE_V4L2_JPEG"], cv2.resize(picture(3), (width_px, height_px)))
    watched = watch(f"v4l2:{path}", width_px=1280, height_px=720, fps=15)
    watched.until_online()
    assert f"asked 1280x720 MJPG 15 fps, got {got}" in watched.supervisor.info["detail"]
    info = watched.supervisor.buffer.latest_info()
    assert info is not None
    assert (info.width_px, info.height_px) == (width_px, height_px)


def test_stall_is_seen_and_the_camera_comes_back(camera: FakeCamera, watch: Callable[..., Watched]) -> None:
    """A stalled device is seen as offline within 5 s and used again after, by the same process."""
    watched = watch(f"v4l2:{camera.path}", fps=25)
    watched.until_online()
    pid = watched.pid
    camera.tell("stall")
    watched.until(lambda: not watched.supervisor.online, "the stall to be seen", 7)
    camera.tell("play")
    watched.until(lambda: watched.supervisor.online, "the camera to be back", 5)
    assert watched.pid == pid


def test_unplugged_camera_comes_back_under_another_number(camera: FakeCamera, watch: Callable[..., Watched]) -> None:
    """The link by id is followed at each opening: plugged in again as another device, the camera is found."""
    watched = watch(f"v4l2:{camera.link}", fps=25)
    watched.until_online()
    pid = watched.pid
    camera.unplug()
    watched.until(lambda: not watched.supervisor.online, "the loss to be seen", 6)
    assert "is not there" in watched.supervisor.reason
    camera.plug_in(number=2)
    watched.until(lambda: watched.supervisor.online, "the camera to be back", 5)
    assert watched.pid == pid


def test_cut_pictures_of_a_bad_cable_are_not_shown(camera: FakeCamera, watch: Callable[..., Watched]) -> None:
    """While every JPEG is cut no frame is written; when they are whole again, frames go on."""
    watched = watch(f"v4l2:{camera.path}", fps=25)
    watched.until_online()
    camera.tell("truncated")
    watched.until(lambda: not watched.supervisor.online, "the camera to be offline", 8)
    assert "damaged" in watched.supervisor.reason
    camera.tell("play")
    watched.until(lambda: watched.supervisor.online, "the camera to be back", 5)
