"""V4L2 as OpenCV and the device list speak it, against a device that is made of answers (tests/fake_v4l2.c)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_camera import COMPILER, FakeCamera

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
    printf("BUF_TYPE_VIDEO_CAPTURE %d\\n", V4L2_BUF_TYPE_VIDEO_CAPTURE);
    printf("BUF_TYPE_VIDEO_CAPTURE_MPLANE %d\\n", V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE);
    printf("CAP_VIDEO_CAPTURE %u\\n", V4L2_CAP_VIDEO_CAPTURE);
    printf("CAP_VIDEO_CAPTURE_MPLANE %u\\n", V4L2_CAP_VIDEO_CAPTURE_MPLANE);
    printf("CAP_DEVICE_CAPS %u\\n", V4L2_CAP_DEVICE_CAPS);
    printf("FRAME_SIZE_DISCRETE %d\\n", V4L2_FRMSIZE_TYPE_DISCRETE);
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
    assert len(told) == 9
    for name, number in map(str.split, told):
        assert getattr(devices, name) == int(number), name


def test_device_is_listed_with_its_formats_and_link(camera: FakeCamera) -> None:
    """What the driver tells, and the link by id that stays the camera's."""
    assert listed(camera.dev) == [
        {
            "path": str(camera.path),
            "by_id": str(camera.link),
            "card": "Fake Camera",
            "driver": "fake",
            "bus": "platform:fake",
            "formats": {"MJPG": ["320x240"]},
            "problem": "",
        }
    ]


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
