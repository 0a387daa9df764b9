"""The sources of network cameras, alone: HTTP and RTSP servers that stall, break off, lie and ask for passwords."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from edge_app.camera import FrameSource, Picture, open_source
from edge_app.camera.mjpeg import MjpegSource, open_http
from edge_app.camera.stream import open_stream
from edge_app.errors import CameraError
from edge_app.settings import CameraConfig
from tests.streams import HAS_FFMPEG, MjpegServer, RtspServer, free_port, picture

STALL_LIMIT_S = 5.0  # a stall is to be seen within this


@pytest.fixture
def camera() -> Iterator[MjpegServer]:
    with MjpegServer() as server:
        yield server


@contextmanager
def opened(url: str, fps: int = 30) -> Iterator[FrameSource]:
    source = open_source(CameraConfig(name="test", source=url, fps=fps))
    try:
        yield source
    finally:
        source.close()


def whole(source: FrameSource) -> Picture:
    """The next picture that is not damaged."""
    while (image := source.read()) is None:
        pass
    return image


def is_picture(image: Picture) -> bool:
    """Whether it is one of the server's pictures: every row of it, the square included, belongs to one number."""
    left = int(np.argmax(image[120, :, 1] > 200))
    return bool(np.abs(image.astype(int) - picture(left // 8)).mean() < 4)  # measured 1.1; the next number: 8


def fail_of(source: FrameSource) -> tuple[str, float]:
    """Read until the source fails; its sentence, and how long after now it came."""
    started_s = time.monotonic()
    with pytest.raises(CameraError) as error:
        while time.monotonic() - started_s < 30:
            source.read()
    return str(error.value), time.monotonic() - started_s


@contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """An HTTP server for one connection, that answers with exactly these bytes and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, name="raw server")
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join()


def multipart(*parts: bytes, boundary: bytes = b"frame", lengths: bool = True) -> bytes:
    """An answer of these parts; `boundary` as the header tells it."""
    told = b'multipart/x-mixed-replace; boundary="' + boundary + b'"'
    answer = b"HTTP/1.0 200 OK\r\nContent-Type: " + told + b"\r\n\r\n"
    for part in parts:
        length = b"Content-Length: %d\r\n" % len(part) if lengths else b""
        answer += b"--" + boundary.strip(b"-") + b"\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n" + part + b"\r\n"
    return answer + b"--" + boundary.strip(b"-") + b"--\r\n"


def jpeg(number: int) -> bytes:
    data: bytes = cv2.imencode(".jpg", picture(number))[1].tobytes()
    return data


def test_frames_of_an_http_camera_arrive(camera: MjpegServer) -> None:
    """Pictures come as they were sent, and move."""
    with opened(camera.url) as source:
        first, second = whole(source), whole(source)
        assert first.shape == (240, 320, 3)
        assert is_picture(first)
        assert is_picture(second)
        assert not np.array_equal(first, second)
        assert "MJPEG" in source.description


def test_frame_rate_is_limited(camera: MjpegServer) -> None:
    """Of 25 pictures a second at most the 10 asked for are decoded and handed out."""
    with opened(camera.url, fps=10) as source:
        whole(source)
        started_s = time.monotonic()
        for _ in range(20):
            whole(source)
        assert time.monotonic() - started_s == pytest.approx(2.0, abs=0.3)


def test_truncated_jpeg_is_none_and_the_stream_goes_on(camera: MjpegServer) -> None:
    """Every second picture is cut in half: those are None, the others are whole, and none is mixed of two."""
    camera.tell("truncated")
    with opened(camera.url) as source:
        images = [source.read() for _ in range(30)]
    good = [image for image in images if image is not None]
    assert 10 <= len(good) <= 20
    assert all(is_picture(image) for image in good)


def test_stall_of_an_http_camera_is_seen(camera: MjpegServer) -> None:
    """A camera that stays connected and sends nothing fails within 5 s."""
    with opened(camera.url) as source:
        whole(source)
        camera.tell("stall")
        sentence, after_s = fail_of(source)
    assert after_s < STALL_LIMIT_S
    assert "silent" in sentence


def test_killed_camera_fails_at_once_and_comes_back(camera: MjpegServer) -> None:
    """A camera that loses its power fails at once; opened again on the same port after its return it gives frames."""
    with opened(camera.url) as source:
        whole(source)
        camera.kill()
        sentence, after_s = fail_of(source)
        assert after_s < 1
        assert "broke off" in sentence
    with pytest.raises(CameraError, match="cannot be reached"), opened(camera.url):
        pass
    camera.start()
    with opened(camera.url) as source:
        assert is_picture(whole(source))


@pytest.mark.parametrize("boundary", [b"frame", b"--frame", b"a b:c"])
@pytest.mark.parametrize("lengths", [True, False])
def test_dialects_of_multipart(boundary: bytes, lengths: bool) -> None:
    """Parts with and without their length, and boundaries told with the dashes that precede them."""
    with raw_server(multipart(jpeg(1), jpeg(2), jpeg(3), boundary=boundary, lengths=lengths)) as url:
        source = MjpegSource(open_http(url), url, fps=1e9)
        for number in (1, 2, 3):
            image = source.read()
            assert image is not None
            assert np.abs(image.astype(int) - picture(number)).mean() < 4
        with pytest.raises(CameraError, match="broke off"):
            source.read()
        source.close()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "answers 404 Not Found; check the address"),
        (b"HTTP/1.0 401 Unauthorized\r\n\r\n", "answers 401 Unauthorized; check user and password"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP|sent no video"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n", "broke off"),
        (multipart(b"x")[:-30], "broke off"),
        (multipart(jpeg(1)).replace(b"Content-Length: ", b"Content-Length: 999999"), "announces a picture of 999999"),
        (multipart(jpeg(1)).replace(b"Content-Length: ", b"Content-Length: 9"), "broke off"),
    ],
)
def test_what_is_no_camera_is_told(answer: bytes, words: str) -> None:
    """Each wrong answer is a CameraError whose sentence says what came."""
    with raw_server(answer) as url, pytest.raises(CameraError, match=words), opened(url) as source:
        while True:
            source.read()


def test_endless_part_without_boundary_is_refused() -> None:
    """A part that never ends is given up at 16 MiB; memory does not grow with it."""
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n--f\r\n\r\n"
    with raw_server(head + bytes(17 << 20)) as url, opened(url) as source, pytest.raises(CameraError, match="no MJPEG"):
        source.read()


def test_login_opens_the_camera() -> None:
    """User and password of the address are used, percent signs decoded; wrong ones are told, not shown."""
    with MjpegServer(login="admin:s3cr@t") as camera:
        right = camera.url.replace("s3cr@t", "s3cr%40t")
        with opened(right) as source:
            assert is_picture(whole(source))
            assert "s3cr" not in source.description
        wrong = right.replace("s3cr%40t", "secr3t")
        with pytest.raises(CameraError, match="answers 401") as error, opened(wrong):
            pass
        assert "secr3t" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://admin:s3cret@127.0.0.1:{port}/x",
        "rtsp://admin:s3cret@127.0.0.1:{port}/x",
        "rtsp://admin:s3cret@host.invalid/x",
    ],
)
def test_unreachable_camera_is_told_at_once_without_its_password(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Refused, or unknown host: a sentence in less than a second, with no password in it."""
    started_s = time.monotonic()
    with pytest.raises(CameraError, match=re.escape("***@")) as error, opened(url.format(port=free_port())):
        pass
    assert "s3cret" not in str(error.value) + "".join(capfd.readouterr())
    assert time.monotonic() - started_s < 3


@pytest.mark.parametrize(
    "url",
    [
        "http://admin:s3cret@127.0.0.1:port/x",
        "rtsp://admin:s3cret@127.0.0.1:port/x",
        "rtsp://admin:s3cret/x@127.0.0.1/x",
        "http://admin:s3cret/x@127.0.0.1/x",
        "http://admin:s3cret?x@127.0.0.1/x",
        "rtsp://admin:s3cret#x@127.0.0.1/x",
        "rtsp://[s3cret@127.0.0.1/x",
        "http://admin:s3cret\u2100@127.0.0.1/x",
    ],
)
def test_what_is_no_address_is_told_without_a_part_of_it(url: str) -> None:
    """The library's error quotes the password that it took for a port or a host: it is not passed on, nor chained."""
    with pytest.raises(CameraError, match=r"is not an address; write (rtsp|http)://HOST:PORT/PATH") as error:
        open_stream(url, fps=15)
    assert "s3cret" not in f"{error.value}{error.value.__cause__!r}{error.value.__context__!r}"


@pytest.mark.skipif(not HAS_FFMPEG, reason="the ffmpeg program makes the stream")
def test_rtsp_camera_over_tcp() -> None:
    """A camera that speaks RTP over TCP only gives frames that move; its stall is seen; a killed one fails at once."""
    with RtspServer() as camera:
        with opened(camera.url) as source:
            first, second = whole(source), whole(source)
            assert first.shape == (240, 320, 3)
            assert not np.array_equal(first, second)
            camera.tell("stall")
            sentence, after_s = fail_of(source)
            assert after_s < STALL_LIMIT_S
            assert "has stopped" in sentence
        camera.tell("play")
        with opened(camera.url) as source:
            whole(source)
            camera.kill()
            assert fail_of(source)[1] < STALL_LIMIT_S
        with pytest.raises(CameraError, match="cannot be reached"), opened(camera.url):
            pass
