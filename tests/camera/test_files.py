"""Frames from files, and `load_image`: whatever is in a file, a picture or a sentence comes out."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edge_app.camera.files import PictureSource, VideoSource, load_image, open_files
from edge_app.errors import BadRequestError, CameraError
from tests.camera.conftest import Watched
from tests.streams import picture, write_video

pytestmark = pytest.mark.timeout(60)

# [4, 6, 3] BGR: blue, green and red thirds.
THIRDS = np.repeat(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8), 2, axis=1).repeat(4, axis=0)


def png_header(width_px: int, height_px: int) -> bytes:
    """A PNG that says it has this size, and has hardly any pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


def jpeg(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return bytes(cv2.imencode(".jpg", image)[1])


def test_a_picture_is_bgr(tmp_path: Path) -> None:
    """Blue comes first in the last axis, whatever the file's order is."""
    path = tmp_path / "thirds.png"
    Image.fromarray(THIRDS[:, :, ::-1]).save(path)
    assert np.array_equal(load_image(path), THIRDS)


def test_a_picture_beyond_opencvs_limit_is_a_sentence(tmp_path: Path) -> None:
    """The camera's process allows OpenCV fewer pixels than a picture file may have: refused, no crash."""
    path = tmp_path / "large.png"
    Image.new("L", (9000, 8000)).save(path)
    code = "import sys, pathlib; from edge_app.camera.files import load_image; load_image(pathlib.Path(sys.argv[1]))"
    environ = {**os.environ, "OPENCV_IO_MAX_IMAGE_PIXELS": str(1 << 26)}
    run = subprocess.run([sys.executable, "-c", code, path], env=environ, capture_output=True, text=True, check=False)
    assert "BadRequestError" in run.stderr
    assert "is 9000x8000, too large" in run.stderr


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    """A grey file has the shape of any other."""
    path = tmp_path / "grey.png"
    Image.fromarray(np.array([[0, 128, 255]], np.uint8)).save(path)
    assert load_image(path).tolist() == [[[0, 0, 0], [128, 128, 128], [255, 255, 255]]]


def test_16_bit_is_scaled_to_8(tmp_path: Path) -> None:
    """The upper byte of each 16-bit value counts: 65535 is white, 0x8000 is 128."""
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.array([[[0, 0x8000, 0xFFFF]]], np.uint16))
    image = load_image(path)
    assert image.dtype == np.uint8
    assert image.tolist() == [[[0, 128, 255]]]


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    """The smallest picture there is."""
    path = tmp_path / "dot.png"
    Image.new("RGB", (1, 1), (3, 2, 1)).save(path)
    assert load_image(path).tolist() == [[[1, 2, 3]]]


def test_alpha_is_dropped(tmp_path: Path) -> None:
    """A transparent pixel keeps its colour."""
    path = tmp_path / "clear.png"
    Image.new("RGBA", (2, 2), (30, 20, 10, 0)).save(path)
    assert load_image(path).tolist() == [[[10, 20, 30]] * 2] * 2


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    """EXIF orientation 6, a camera held upright: the file's left column is the picture's top row."""
    path = tmp_path / "upright.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.zeros((16, 32, 3), np.uint8)
    lying[:, :8] = 255
    Image.fromarray(lying).save(path, exif=exif, quality=100)
    image = load_image(path)
    assert image.shape == (32, 16, 3)
    assert image[:8].min() > 200
    assert image[8:].max() < 50


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"This is a letter, not a picture.\n", "is not a picture"),
        (bytes(1000), "is not a picture"),
        (jpeg(picture(0))[:30], "is not a picture"),
        (jpeg(picture(0))[:2000], "is damaged and cannot be decoded"),
        (jpeg(picture(0))[:-200], "is damaged and cannot be decoded"),
        (png_header(100, 100), "is damaged and cannot be decoded"),
        (png_header(2_000_000, 1), "is damaged and cannot be decoded"),
        (png_header(20_000, 20_000), "is too large to be a photo"),
        (png_header(11_000, 10_000), "says it is 11000x10000"),
        (png_header(0, 0), "is not a picture"),
    ],
    ids=["empty", "text", "zeros", "head", "truncated", "nearly-whole", "no-pixels", "wide", "bomb", "large", "0x0"],
)
# Pillow warns of more than 89 megapixels; that is our business.
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_whole_picture_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """Empty, foreign, cut or absurd files are a bad request whose sentence names the file and the trouble."""
    path = tmp_path / "picture.jpg"
    path.write_bytes(content)
    with pytest.raises(BadRequestError) as error:
        load_image(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    """What is missing is told in the system's words, and a folder is no picture."""
    with pytest.raises(BadRequestError, match="No such file or directory"):
        load_image(tmp_path / "missing.jpg")
    with pytest.raises(BadRequestError, match="is not a plain file"):
        load_image(tmp_path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """Reading a named pipe would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(BadRequestError, match=r"pipe\.jpg is not a plain file"):
        load_image(tmp_path / "pipe.jpg")


def test_a_video_begins_again_at_its_end(tmp_path: Path) -> None:
    """Twelve frames read thirty times: each is the one of its number, modulo twelve, at the file's own rate."""
    source = VideoSource(write_video(tmp_path / "walk.avi", frames=12, fps=20))
    assert source.period_s == 1 / 20
    for number in range(30):
        error = np.abs(source.read().astype(int) - picture(number % 12)).mean()
        assert error < 4, f"frame {number}"  # measured 1.1 for the right frame; 8 for its neighbour
    source.close()


def test_a_video_plays_at_its_own_rate(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    """Under supervision a video of 12 frames goes on past its end, not faster than its 25 frames a second."""
    camera = watch(f"file:{write_video(tmp_path / 'walk.avi')}")
    camera.until_online()
    begun_s = time.monotonic()
    camera.until_frames(40)
    assert time.monotonic() - begun_s > 38 / 25  # one frame may be late, and the next then early


def test_a_folder_shows_its_pictures_in_turn(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By name, over and over; files of other kinds do not count, and a broken picture is left out and told once."""
    for number, name in enumerate(("a.png", "b.PNG", "d.png")):
        cv2.imwrite(str(tmp_path / name), picture(number))
    (tmp_path / "c.jpg").write_bytes(b"broken")
    (tmp_path / "notes.txt").write_text("not shown", encoding="utf-8")
    source = open_files(str(tmp_path), fps=5)
    assert isinstance(source, PictureSource)
    assert source.period_s == 1 / 5
    for number in range(9):
        image = source.read()
        assert np.array_equal(image, picture(number % 3))
    assert [record.message for record in caplog.records] == [
        f"picture left out reason='{tmp_path}/c.jpg is not a picture; give a JPEG or PNG.'"
    ]


def test_a_folder_is_read_anew_each_round(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A picture that comes is shown, one that goes is not missed, a bad one that is replaced is shown, too."""
    for number, name in enumerate(("a.png", "b.png")):
        cv2.imwrite(str(tmp_path / name), picture(number))
    (tmp_path / "c.png").write_bytes(b"broken")
    source = open_files(str(tmp_path), fps=5)

    def shown(*numbers: int) -> None:
        for number in numbers:
            image = source.read()
            assert image is not None and np.array_equal(image, picture(number)), number

    shown(0, 1, 0, 1)
    cv2.imwrite(str(tmp_path / "c.png"), picture(2))
    cv2.imwrite(str(tmp_path / "d.png"), picture(3))
    shown(2, 0, 1, 2, 3)  # the replaced one at its turn of this round, the new one from the next on
    (tmp_path / "a.png").unlink()
    shown(1, 2, 3, 1)
    assert len(caplog.records) == 1


def test_a_folder_without_a_whole_picture_fails_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing to show is a CameraError that names an example; the log is not filled at each new attempt."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"broken")
    source = open_files(str(tmp_path), fps=5)
    for _ in range(2):
        with pytest.raises(CameraError, match=r"None of the 2 pictures .*/a\.jpg is not a picture"):
            source.read()
    assert caplog.records == []


def test_nothing_to_show_is_a_camera_error(tmp_path: Path) -> None:
    """A missing path, an empty folder, a video that is none, an unknown user's home and a name beyond the limit."""
    (tmp_path / "video.mp4").write_bytes(b"no video")
    (tmp_path / "empty").mkdir()
    for name, words in (
        (tmp_path / "missing", "There is no file or folder"),
        (tmp_path / "empty", "has no pictures"),
        (tmp_path / "video.mp4", "is not a video that can be played"),
        ("~nobody-of-that-name/x.jpg", "cannot be looked at"),
        ("x" * 300, "cannot be looked at"),
    ):
        with pytest.raises(CameraError, match=words):
            open_files(str(name), fps=5)


def test_pictures_are_counted_in_words_that_fit(tmp_path: Path) -> None:
    """`info` and the log show it."""
    for name, told in (("a.png", "1 picture at 15 fps"), ("b.png", "2 pictures at 15 fps")):
        cv2.imwrite(str(tmp_path / name), THIRDS)
        assert open_files(str(tmp_path), fps=15).description == f"{tmp_path}: {told}"
