"""A JPEG is shown whole or not at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_app.camera.jpeg import decode_jpeg
from tests.streams import picture


def jpeg() -> bytes:
    data: bytes = cv2.imencode(".jpg", picture(3), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    return data


def test_whole_picture_is_decoded() -> None:
    """Pixels come out as they went in, up to the loss of JPEG; padding after the end is no damage."""
    for padding in (b"", b"\r\n", b"\0" * 64):
        image = decode_jpeg(jpeg() + padding)
        assert image is not None
        assert np.abs(image.astype(int) - picture(3)).mean() < 2  # measured 0.53


def test_only_jpeg_is_decoded() -> None:
    """A camera cannot choose another, less trusted decoder by sending PNG."""
    assert decode_jpeg(cv2.imencode(".png", picture(3))[1].tobytes()) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"GIF89a", b"\xff\xd8" + bytes(500) + b"\xff\xd9"])
def test_no_picture_is_none(data: bytes) -> None:
    """Nothing, a start without the rest, another format, and garbage between the right markers."""
    assert decode_jpeg(data) is None


@pytest.mark.parametrize("missing_bytes", [1, 2, 3, 50, 2000, 6000])
def test_cut_picture_is_refused(missing_bytes: int) -> None:
    """A picture without its last rows is never shown, however little is missing."""
    assert decode_jpeg(jpeg()[:-missing_bytes]) is None


def test_absurd_size_in_the_header_is_refused() -> None:
    """A header of 65000x65000 pixels, with nothing behind it, costs no memory and no exception."""
    data = bytearray(jpeg())
    frame_header = data.index(b"\xff\xc0")
    data[frame_header + 5 : frame_header + 9] = (65000).to_bytes(2, "big") * 2
    assert decode_jpeg(bytes(data)) is None
