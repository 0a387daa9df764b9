"""Network cameras under their supervisor: real streams that stall, end, come back, and send rubbish."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.broker import wait_until
from tests.camera.conftest import Watched
from tests.streams import HAS_FFMPEG, HEIGHT_PX, WIDTH_PX, MjpegServer, RtspServer

pytestmark = pytest.mark.timeout(120)
Watch = Callable[..., Watched]


def test_frames_of_a_stream_arrive(watch: Watch) -> None:
    """A camera on a stream comes online, says what was opened, and its newest frame follows the picture."""
    with MjpegServer() as server:
        camera = watch(server.url)
        assert not camera.supervisor.online
        camera.until_online()
        first = camera.supervisor.buffer.latest()
        camera.until_frames(5)
        second = camera.supervisor.buffer.latest()
    assert first is not None
    assert second is not None
    assert first.image.shape == second.image.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert not np.array_equal(first.image, second.image)
    assert camera.supervisor.reason == ""
    assert camera.supervisor.info == {
        "source": server.url,
        "detail": f"{server.url}: MJPEG over HTTP, at most 15 fps are used",
        "restarts": 0,
    }


def test_a_stall_is_seen_within_5_s_and_heals_by_itself(watch: Watch) -> None:
    """A stream that stops but stays connected: offline while the newest frame is younger than 5 s, told why; when the
    pictures go on, frames are back within 5 s, from the same process."""
    with MjpegServer() as server:
        camera = watch(server.url)
        camera.until_online()
        pid = camera.pid
        server.tell("stall")
        age_s = camera.until(lambda: not camera.supervisor.online and camera.supervisor.frame_age_s, "offline")
        assert age_s < 5
        assert "is silent for 3 s" in camera.supervisor.reason
        server.tell("play")
        begun_s = time.monotonic()
        camera.until_online()
        assert time.monotonic() - begun_s < 5
        assert camera.supervisor.reason == ""
        assert camera.pid == pid


def test_a_slow_opening_is_no_hang(watch: Watch) -> None:
    """A server that takes the connection and never answers keeps the process from its heart-beat; even with a small
    `stall_s` it is not replaced, and the failure is told."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        camera = watch(f"http://127.0.0.1:{silent.getsockname()[1]}/stream", stall_s=1)
        camera.until(lambda: "timed out" in camera.supervisor.reason, "an opening that failed")
        assert camera.supervisor.info["restarts"] == 0


def test_a_camera_that_loses_power_comes_back_on_the_same_port(watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """Server killed: offline; server back: frames again within 5 s, from the same process, with ids that go on. The
    server stays away for 10 s, long enough for the intervals between two attempts to have reached their cap."""
    with MjpegServer() as server:
        camera = watch(server.url)
        camera.until_online()
        pid = camera.pid
        server.kill()
        killed_s = time.monotonic()
        camera.until(lambda: not camera.supervisor.online, "offline")
        camera.until(lambda: time.monotonic() > killed_s + 10, "the end of the power cut")
        last = camera.frame_id
        server.start()
        begun_s = time.monotonic()
        camera.until_online()
        assert time.monotonic() - begun_s < 5
        assert camera.frame_id > last
        assert camera.pid == pid
    assert [record.message.split(" camera=")[0] for record in caplog.records] == ["camera offline"]


def test_a_short_break_leaves_no_problem_behind(watch: Watch) -> None:
    """A camera that is back before it counts as offline has nothing to report."""
    with MjpegServer() as server:
        camera = watch(server.url)
        camera.until_online()
        server.kill()
        server.start()
        camera.until(lambda: camera.supervisor.reason != "", "the failed read to be told")
        camera.until(lambda: camera.supervisor.reason == "", "the reason to be taken back")
        assert camera.supervisor.online


def test_truncated_pictures_do_no_harm(watch: Watch, capfd: pytest.CaptureFixture[str]) -> None:
    """When every other JPEG is cut in half, frames of the right size go on, from the same process, without a flood of
    log lines."""
    with MjpegServer() as server:
        camera = watch(server.url, fps=30)
        camera.until_online()
        pid = camera.pid
        server.tell("truncated")
        camera.until_frames(20)
        frame = camera.supervisor.buffer.latest()
        assert frame is not None
        assert frame.image.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert camera.pid == pid
        server.tell("play")
        camera.until_frames(5)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("mode", ["flipped", "sizeless", "huge"])
def test_damaged_pictures_cost_neither_the_process_nor_the_log(
    watch: Watch, capfd: pytest.CaptureFixture[str], mode: str
) -> None:
    """A wrong byte, a header of 0x0 or of 20000x20000 in every picture: the same process goes on when they are whole
    again, and what libjpeg has to say of each is not in the log."""
    with MjpegServer() as server:
        camera = watch(server.url, fps=30)
        camera.until_online()
        pid = camera.pid
        server.tell(mode)
        if mode == "flipped":  # shown as far as it can be decoded
            camera.until_frames(20)
        else:
            camera.until(lambda: "damaged" in camera.supervisor.reason, "the damage to be told")
        server.tell("play")
        camera.until_frames(5)
        camera.until_online()
        assert camera.pid == pid
    assert capfd.readouterr().err == ""


def test_a_failed_attempt_is_told_once_by_us_only(
    watch: Watch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """FFmpeg and OpenCV are silent about a server that speaks no RTSP; our own line tells of it once, however often it
    is tried."""
    with MjpegServer() as server:
        camera = watch(f"rtsp://127.0.0.1:{server.port}/stream")
        camera.until(lambda: "could not be opened" in camera.supervisor.reason, "the failure")
        told_s = time.monotonic()
        camera.until(lambda: time.monotonic() > told_s + 2, "further attempts")
    assert len(caplog.records) == 1
    assert capfd.readouterr().err == ""


def test_a_server_that_hangs_up_after_each_picture_is_not_hammered(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    """A source that gives one picture and ends (an address of a still picture) is opened at growing intervals."""
    with MjpegServer() as server:
        server.tell("single")
        camera = watch(server.url)
        camera.until_online()
        begun_s = time.monotonic()
        first = camera.frame_id
        camera.until_frames(3)
        # 0.5, 1 and 2 s, each at least 80 % of itself; not 3 times 0.5 s. The first may have passed by now.
        assert time.monotonic() - begun_s > 0.8 * (1 + 2)
        assert camera.frame_id == first + 3
    assert len(caplog.records) <= 1


def test_the_login_works_and_is_never_shown(
    watch: Watch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """User and password of the address open the stream; neither is in info, reason, log, arguments or environment."""
    caplog.set_level("DEBUG")
    with MjpegServer(login="porter:hunter2") as server:
        camera = watch(server.url)
        refused = watch(server.url.replace("hunter2", "hunter3"))
        camera.until_online()
        refused.until(lambda: "answers 401" in refused.supervisor.reason, "the refusal")
        camera.until_frames(2)
        process = Path(f"/proc/{camera.pid}")
        told = [process.joinpath(name).read_text(encoding="utf-8") for name in ("cmdline", "environ")]
        server.kill()
        camera.until(lambda: camera.supervisor.reason, "the failure")
        camera.until(lambda: "cannot be reached" in camera.supervisor.reason, "an attempt that failed")
    told += [caplog.text, capfd.readouterr().err]
    for watched in (camera, refused):
        told += [repr(watched.supervisor.info), watched.supervisor.reason]
    assert "***@" in camera.supervisor.info["source"]
    assert "***@" in camera.supervisor.info["detail"]
    assert "***@" in refused.supervisor.reason
    assert "***@" in camera.supervisor.reason
    for text in told:
        assert "porter" not in text
        assert "hunter" not in text


@pytest.mark.skipif(not HAS_FFMPEG, reason="ffmpeg, which makes the RTSP stream, is not installed")
def test_rtsp_over_tcp_plays_and_recovers(watch: Watch) -> None:
    """An RTSP camera delivers over TCP; after its power was off it does so again."""
    with RtspServer() as server:
        camera = watch(server.url)
        camera.until_online()
        frame = camera.supervisor.buffer.latest()
        assert frame is not None
        assert frame.image.shape == (HEIGHT_PX, WIDTH_PX, 3)
        assert len(np.unique(frame.image)) > 20, "the picture is flat"
        server.kill()
        camera.until(lambda: "cannot be reached" in camera.supervisor.reason, "the failure")
        server.start()
        camera.until_frames(2)


@pytest.mark.skipif(not HAS_FFMPEG, reason="ffmpeg, which makes the RTSP stream, is not installed")
def test_the_rtsp_server_leaves_no_ffmpeg_behind() -> None:
    """Killing the test's server ends its ffmpeg as well."""
    with RtspServer() as server:
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text(encoding="utf-8").split()
        assert len(children) == 1
        assert "ffmpeg" in Path(f"/proc/{children[0]}/cmdline").read_text(encoding="utf-8")
    # An ended process that nobody has waited for yet keeps its number, but no command line.
    command = Path(f"/proc/{children[0]}/cmdline")
    try:
        wait_until(lambda: not command.exists() or command.read_bytes() == b"", "the end of ffmpeg")
    finally:
        if command.exists() and b"ffmpeg" in command.read_bytes():
            os.kill(int(children[0]), signal.SIGKILL)
