"""The overlay as a file: a picture that is replaced whole, and a video that keeps time and does not grow for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_app.screen import video_file
from edge_app.screen.base import NoScreen
from edge_app.screen.chosen import open_screen
from edge_app.screen.picture_file import PictureFile
from edge_app.screen.video_file import CODECS, VideoFile
from edge_app.screen.window import Window
from edge_app.settings import DisplayConfig
from edge_app.settings.outputs import VIDEO_SUFFIXES


def plain(colour: tuple[int, int, int], height_px: int = 720, width_px: int = 1280) -> NDArray[np.uint8]:
    return np.full((height_px, width_px, 3), colour, np.uint8)


def frames(path: Path) -> list[NDArray[np.uint8]]:
    """All pictures of a video."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    found: list[NDArray[np.uint8]] = []
    while True:
        ok, image = video.read()
        if not ok:
            return found
        found.append(np.asarray(image, np.uint8))


def test_every_video_that_may_be_named_has_a_codec() -> None:
    """What the configuration lets pass as a video is written as one, and not as a picture."""
    assert tuple(CODECS) == VIDEO_SUFFIXES


@pytest.mark.parametrize("suffix", CODECS)
def test_video_lasts_as_long_as_what_it_shows(suffix: str, tmp_path: Path) -> None:
    """Three pictures over half a second are ten at 20 a second, or more if it took longer: each stands as it stood."""
    video = VideoFile(tmp_path / f"overlay{suffix}", 20, 256)
    started_s = time.monotonic()
    for grey in (0, 120, 240):
        assert video.prepare() in (None, (320, 240))
        video.show(plain((grey, grey, grey), 240, 320))
        time.sleep(0.25)
    lasted_s = time.monotonic() - started_s
    video.close()
    found = frames(tmp_path / f"overlay{suffix}")
    assert 10 <= len(found) <= 20 * lasted_s + 2
    assert abs(int(found[0].mean()) - 0) <= 6
    assert abs(int(found[-1].mean()) - 240) <= 6


def test_full_video_becomes_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more than two files; the newest picture is in the new one."""
    path = tmp_path / "overlay.avi"
    video = VideoFile(path, 1000, 1)
    rng = np.random.default_rng(1)
    monkeypatch.setattr(video_file, "MAX_REPEATS", 1)
    for _ in range(60):  # noise: 100 KB a picture
        video.show(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8))
    video.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["overlay.avi", "overlay.old.avi"]
    assert all(file.stat().st_size < 2 * 1024 * 1024 for file in tmp_path.iterdir())


def test_video_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A missing folder is an OSError with a sentence, and a later picture is written when it is there."""
    video = VideoFile(tmp_path / "later" / "overlay.mkv", 10, 256)
    with pytest.raises(OSError, match="see that its folder is there"):
        video.show(plain((0, 0, 0)))
    (tmp_path / "later").mkdir()
    video.show(plain((0, 0, 0)))
    video.close()
    assert len(frames(tmp_path / "later" / "overlay.mkv")) >= 1


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    """Whoever has the old picture open keeps all of it, because the new one is another file put in its place."""
    display = PictureFile(tmp_path / "a.png")
    display.show(plain((0, 0, 0)))
    path = tmp_path / "a.png"
    with path.open("rb") as old:
        display.show(plain((9, 9, 9)))
        size_bytes = os.fstat(old.fileno()).st_size
        assert os.fstat(old.fileno()).st_nlink == 0
        assert len(old.read()) == size_bytes
    image = cv2.imread(str(path))
    assert image is not None
    assert np.all(image == 9)


def test_file_is_a_jpeg_where_its_name_says_so(tmp_path: Path) -> None:
    """The name of the file decides between PNG and JPEG."""
    PictureFile(tmp_path / "a.jpeg").show(plain((0, 0, 0)))
    PictureFile(tmp_path / "a.png").show(plain((0, 0, 0)))
    assert (tmp_path / "a.jpeg").read_bytes().startswith(b"\xff\xd8\xff")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_picture_that_cannot_be_encoded_is_told(tmp_path: Path) -> None:
    """No JPEG has more than 65500 columns: an OSError with a sentence, and no file."""
    with pytest.raises(OSError, match="65600x1 pixels cannot be encoded"):
        PictureFile(tmp_path / "a.jpg").show(plain((0, 0, 0), 1, 65_600))
    assert list(tmp_path.iterdir()) == []


def test_configuration_chooses_the_screen(tmp_path: Path) -> None:
    """`file` is a picture or a video by its name, each with a pace of its own; `none` is the null object."""
    picture = open_screen(DisplayConfig(backend="file", path=tmp_path / "a.png"))
    video = open_screen(DisplayConfig(backend="file", path=tmp_path / "a.mkv", fps=5))
    window = open_screen(DisplayConfig(backend="window"))
    assert isinstance(picture, PictureFile)
    assert isinstance(video, VideoFile)
    assert isinstance(window, Window)
    assert (picture.period_s, video.period_s, window.period_s) == (1, 1 / 5, 1 / 60)
    nothing = open_screen(DisplayConfig())
    assert isinstance(nothing, NoScreen)
    nothing.show(plain((0, 0, 0)))
    nothing.close()
