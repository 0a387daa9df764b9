"""Which source opens for which name, and the sources that need no server."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.camera import open_source
from edge_app.camera.files import PictureSource
from edge_app.camera.scene import SceneSource
from edge_app.camera.v4l2 import V4l2Source, fourcc_name
from edge_app.errors import CameraError
from edge_app.settings import SOURCE_KINDS, CameraConfig

SIZE_AND_RATE = {"width_px": 640, "height_px": 480, "fps": 30}


def config(source: str) -> CameraConfig:
    return CameraConfig(name="door", source=source, width_px=320, height_px=240, fps=12)


@pytest.mark.parametrize("source", ["ftp://porter:hunter2@host/x", "webcam", "0", ":", "scenery:"])
def test_an_unknown_kind_is_refused_without_its_password(source: str) -> None:
    """The sentence names the camera and what a source begins with."""
    with pytest.raises(CameraError, match="of camera door is of no known kind; it begins with /dev/") as error:
        open_source(CameraConfig.model_construct(name="door", source=source))  # the settings refuse it themselves
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_every_kind_that_the_settings_allow_is_opened(kind: str) -> None:
    """Whatever is behind it is missing, but the kind is known; `scene:` lacks nothing."""
    try:
        open_source(config(kind if kind == "scene:" else f"{kind}no-such.invalid/x")).close()
    except CameraError as error:
        assert "no known kind" not in str(error)


def test_a_scene_moves_and_is_the_same_for_a_seed() -> None:
    """The demo camera: square pictures of the asked height; one seed gives one film, another one another."""
    films = []
    for source in ("scene:seed=3", "scene:seed=3", "scene:seed=4", "scene:"):
        opened = open_source(config(source))
        assert isinstance(opened, SceneSource)
        assert opened.period_s == 1 / 12
        films.append(np.stack([opened.read() for _ in range(3)]))
        opened.close()
    assert films[0].shape == (3, 240, 240, 3)
    assert not np.array_equal(films[0][0], films[0][2])
    assert np.array_equal(films[0], films[1])
    assert not np.array_equal(films[0], films[2])
    assert not np.array_equal(films[0], films[3])


def test_unknown_options_of_a_scene_are_refused() -> None:
    """A misspelt option is told, not ignored."""
    with pytest.raises(CameraError, match=r"scene:sed=3 has unknown options; write scene: or scene:seed=3"):
        SceneSource("sed=3", size_px=64, fps=5)


def test_a_picture_file_is_a_camera(tmp_path: Path) -> None:
    """`file:` with a picture shows that picture."""
    path = tmp_path / "dot.png"
    cv2.imwrite(str(path), np.full((8, 8, 3), 7, np.uint8))
    source = open_source(config(f"file:{path}"))
    assert isinstance(source, PictureSource)
    assert (source.read() == 7).all()


@pytest.mark.parametrize("prefix", ["", "v4l2:"])
def test_a_device_that_is_not_there_is_told(prefix: str) -> None:
    """The sentence names the device, with or without its prefix, and says where to look."""
    with pytest.raises(CameraError, match=r"The camera /dev/video987 is not there; plug it in, or see `edge-app cam"):
        open_source(config(f"{prefix}/dev/video987"))


def test_a_link_to_nowhere_is_a_device_that_is_not_there(tmp_path: Path) -> None:
    """The stable link of an unplugged camera dangles, or is gone."""
    (tmp_path / "by-id").symlink_to(tmp_path / "video0")
    with pytest.raises(CameraError, match="is not there"):
        V4l2Source(str(tmp_path / "by-id"), **SIZE_AND_RATE)


def test_a_plain_file_is_no_camera(tmp_path: Path) -> None:
    """A file in the place of a device is refused with a sentence, and so is a device that is no camera."""
    path = tmp_path / "video0"
    path.write_bytes(b"\0" * 100)
    for name in (str(path), "/dev/null"):
        with pytest.raises(CameraError, match=f"The camera {name} "):
            V4l2Source(name, **SIZE_AND_RATE)


def test_a_pixel_format_is_named_by_its_four_letters() -> None:
    """0x47504A4D is M, J, P, G from its lowest byte up; a code of fewer letters is padded with spaces."""
    assert fourcc_name(0x47504A4D) == "MJPG"
    assert fourcc_name(int.from_bytes(b"Y16 ", "little")) == "Y16"
