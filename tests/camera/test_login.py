"""The login of a network camera from a file: it opens the camera, and shows up nowhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge_app.camera import open_source
from edge_app.camera.login import with_login
from edge_app.camera.supervisor import CameraSupervisor
from edge_app.errors import CameraError
from edge_app.settings import CameraConfig
from tests.streams import HAS_FFMPEG, MjpegServer, RtspServer

if TYPE_CHECKING:
    from tests.camera.conftest import Watched

USER, PASSWORD = "p@rter/1", "s3c:r@t /%?#ü"  # all that means something else in an address


@pytest.fixture
def login_file(tmp_path: Path) -> Path:
    path = tmp_path / "door-login"
    path.write_text(f"{USER}:{PASSWORD}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def test_a_login_is_put_into_the_address_in_percent_signs(login_file: Path) -> None:
    """The first colon ends the user; what would end the login, or the host, is encoded. No file: as it is."""
    source = "rtsp://127.0.0.1:8554/stream?channel=1"
    assert with_login(source, None) == source
    encoded = "p%40rter%2F1:s3c%3Ar%40t%20%2F%25%3F%23%C3%BC"
    assert with_login(source, login_file) == f"rtsp://{encoded}@127.0.0.1:8554/stream?channel=1"


@pytest.mark.parametrize("content", [b"", b"s3cret", b":s3cret", b"a:s3cret\nb:s3cret\n", b"a:s3cret\xff", b"a:" * 600])
def test_a_file_that_is_no_login_is_told_and_not_quoted(login_file: Path, content: bytes) -> None:
    """Empty, without user or colon, of two lines, not UTF-8, too long: refused with the form that it should have."""
    login_file.write_bytes(content)
    with pytest.raises(CameraError, match="is not one line user:password; correct it") as error:
        with_login("rtsp://host/", login_file)
    assert "s3cret" not in f"{error.value!r}{error.value.__cause__!r}{error.value.__context__!r}"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The reason of the system is in the sentence."""
    with pytest.raises(CameraError, match="cannot be read \\(No such file or directory\\)"):
        with_login("rtsp://host/", tmp_path / "none")


def test_an_http_camera_takes_the_login(login_file: Path) -> None:
    """Basic authentication with the decoded password."""
    with MjpegServer(login=f"{USER}:{PASSWORD}") as camera:
        bare = camera.url.rpartition("@")[2]
        source = open_source(CameraConfig(name="door", source=f"http://{bare}", credentials_file=login_file))
        assert source.read() is not None
        source.close()


@pytest.mark.skipif(not HAS_FFMPEG, reason="the ffmpeg program makes the stream")
@pytest.mark.parametrize("basic", [False, True], ids=["digest", "basic"])
def test_an_rtsp_camera_takes_the_login(login_file: Path, basic: bool) -> None:
    """Digest (what cameras use) and Basic, over TCP; without the login, or with a wrong one, no camera opens."""
    with RtspServer(login=f"{USER}:{PASSWORD}", basic=basic) as camera:
        right = CameraConfig(name="door", source=camera.url, credentials_file=login_file)
        source = open_source(right)
        image = source.read()
        assert image is not None
        assert image.shape == (240, 320, 3)
        source.close()
        with pytest.raises(CameraError, match="check the address, user and password"):
            open_source(CameraConfig(name="door", source=camera.url))
        login_file.write_text(f"{USER}:wrong", encoding="utf-8")
        with pytest.raises(CameraError, match="check the address, user and password") as error:
            open_source(right)
        assert "wrong" not in str(error.value)


@pytest.mark.skipif(not HAS_FFMPEG, reason="the ffmpeg program makes the stream")
def test_a_password_is_seen_nowhere_and_a_new_one_needs_no_restart(
    login_file: Path, watch: Callable[..., Watched], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in info, log, arguments or environment of the process; the file is read again at each attempt."""
    caplog.set_level(logging.DEBUG)
    secrets = ("s3c", "0ld")
    with RtspServer(login=f"{USER}:{PASSWORD}") as camera:
        login_file.write_text(f"{USER}:0ld-{PASSWORD}", encoding="utf-8")
        watched = watch(camera.url, credentials_file=login_file)
        watched.until(lambda: "user and password" in watched.supervisor.reason, "the refusal", 20)
        pid, refusal = watched.pid, watched.supervisor.reason
        login_file.write_text(f"{USER}:{PASSWORD}", encoding="utf-8")
        watched.until_online()
        assert watched.pid == pid
        process = Path(f"/proc/{pid}")
        seen = [
            (process / "cmdline").read_bytes().decode(),
            (process / "environ").read_bytes().decode(),
            str(watched.supervisor.info),
            refusal,
            caplog.text,
            "".join(capfd.readouterr()),
        ]
    assert "***" in seen[2]
    assert not [text for text in seen for secret in secrets if secret in text]


def test_the_parent_never_has_the_password(login_file: Path) -> None:
    """What the camera's process is told is the file's name."""
    config = CameraConfig(name="door", source="rtsp://host/", credentials_file=login_file)
    assert "s3c" not in config.model_dump_json()
    supervisor = CameraSupervisor(config)
    assert "s3c" not in str(supervisor.info)
    supervisor.stop(1)
