"""`edge-app record`: frames of real sources into a private folder, never without consent."""

from __future__ import annotations

import itertools
import os
import pty
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.camera.files import load_image
from edge_app.camera.recorder import FrameFolder
from edge_app.errors import BadRequestError
from export.calibration import read_folder
from tests.broker import wait_until
from tests.streams import HEIGHT_PX, WIDTH_PX, MjpegServer, free_port, picture

pytestmark = pytest.mark.timeout(120)


def config_file(folder: Path, **sources: str) -> Path:
    """A configuration with a camera for each name."""
    cameras = (f'[[camera]]\nname = "{name}"\nsource = "{source}"\n' for name, source in sources.items())
    path = folder / "config.toml"
    path.write_text('[model]\nbundles = ["none-yet"]\n' + "".join(cameras), encoding="utf-8")
    return path


def command(config: Path, *arguments: object) -> list[str]:
    # Where the tests run in the background Ctrl-C is ignored, and a child would inherit that.
    program = ["env", "--default-signal=INT", sys.executable, "-m", "edge_app", "record", "--config", str(config)]
    return [*program, *map(str, arguments)]


def record(config: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `edge-app record` without a terminal."""
    return subprocess.run(
        command(config, *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@contextmanager
def recording(config: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`edge-app record` while it runs."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(command(config, *arguments), stdout=pipe, stderr=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def still_pictures(folder: Path, count: int = 4) -> Path:
    """A folder of pictures, which a `file:` camera shows in turn."""
    folder.mkdir()
    for number in range(count):
        assert cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    return folder


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_frames_are_saved_to_the_last_bit_and_for_the_owner_only(tmp_path: Path) -> None:
    """Every pixel as the source gave it; folder 0700, files 0600, whatever the umask; the export reads the folder that
    the last line names."""
    shown = still_pictures(tmp_path / "shown")
    config = config_file(tmp_path, door=f"file:{shown}")
    out = tmp_path / "new" / "frames"
    done = record(config, "--count", 5, "--interval", 0.1, "--yes", out)
    assert done.returncode == 0, done.stderr
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"door-{number:06}.png" for number in range(1, 6)]
    assert rights(out) == 0o700
    assert {rights(file) for file in files} == {0o600}
    originals = [picture(number) for number in range(4)]
    for file in files:
        saved = load_image(file)
        assert any(np.array_equal(saved, original) for original in originals)
    assert "5 of 5 frames were saved" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == f"python -m export CHECKPOINT OUT --calibration {out}"
    assert read_folder(out, limit=64).paths == tuple(files)


@pytest.mark.parametrize("source", ["http", "scene"])
def test_live_sources_are_recorded_and_no_two_neighbours_are_alike(tmp_path: Path, source: str) -> None:
    """A stream over HTTP and the drawn scene, through the service's own camera process."""
    with MjpegServer() as server:
        config = config_file(tmp_path, door=server.url if source == "http" else "scene:")
        done = record(config, "--count", 4, "--interval", 0.2, "--yes", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    images = [load_image(file) for file in sorted((tmp_path / "out").iterdir())]
    assert len(images) == 4
    for image in images:
        assert source == "scene" or image.shape == (HEIGHT_PX, WIDTH_PX, 3)
    for one, other in itertools.pairwise(images):
        assert not np.array_equal(one, other)


def test_recording_goes_on_after_the_last_number(tmp_path: Path) -> None:
    """What is there stays as it is: numbers continue after the highest, gaps are left, other cameras' are not
    counted."""
    config = config_file(tmp_path, door=f"file:{still_pictures(tmp_path / 'shown')}")
    out = tmp_path / "out"
    out.mkdir(mode=0o700)
    for name in ("door-000007.png", "yard-000020.png", "notes.txt"):
        (out / name).write_text("mine", encoding="utf-8")
    done = record(config, "--count", 2, "--interval", 0.1, "--yes", out)
    assert done.returncode == 0, done.stderr
    new = {"door-000008.png", "door-000009.png"}
    assert {file.name for file in out.iterdir()} == {"door-000007.png", "yard-000020.png", "notes.txt"} | new
    assert (out / "door-000007.png").read_text(encoding="utf-8") == "mine"


def test_two_recordings_into_one_folder_keep_both(tmp_path: Path) -> None:
    """A number that somebody else has taken since is passed over, never written over."""
    one, other = FrameFolder(tmp_path / "out", "door"), FrameFolder(tmp_path / "out", "door")
    paths = [one.save(picture(1)), other.save(picture(2)), one.save(picture(3))]
    assert [path.name for path in paths] == ["door-000001.png", "door-000002.png", "door-000003.png"]
    for number, path in enumerate(paths, start=1):
        assert np.array_equal(load_image(path), picture(number))


def test_without_terminal_and_yes_nothing_is_opened(tmp_path: Path) -> None:
    """A script that was not told --yes: exit code 2, one sentence, no folder."""
    config = config_file(tmp_path, door="scene:")
    done = record(config, "--count", 1, tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no terminal to ask on; give --yes" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("answer", "code", "count"), [("y", 0, 2), ("n", 1, 0), ("", 1, 0)])
def test_a_person_is_asked_first(tmp_path: Path, answer: str, code: int, count: int) -> None:
    """On a terminal: what, how many, where, that nothing is sent, whose rights; only "y" goes on, Enter does not.

    A no is exit code 1, as whenever there are fewer frames than asked for.
    """
    config = config_file(tmp_path, door=f"file:{still_pictures(tmp_path / 'shown')}")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(config, "--count", 2, "--interval", 0.1, tmp_path / "out"),
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    asked = b""
    while b"[y/N]" not in asked:
        asked += os.read(ours, 4096)
    assert not (tmp_path / "out").exists()
    os.write(ours, f"{answer}\n".encode())
    output, _ = process.communicate(timeout=100)
    os.close(ours)
    question = asked.decode()
    for words in ("camera door", "2 pictures", str(tmp_path / "out"), "nothing is sent anywhere", "0700", "0600"):
        assert words in question
    assert process.returncode == code
    assert len(list(tmp_path.glob("out/*.png"))) == count
    assert ("Nothing was recorded." in output) == (count == 0)


def test_the_question_hides_the_cameras_password(tmp_path: Path) -> None:
    """A login in the address is not shown to who looks over the shoulder."""
    config = config_file(tmp_path, door="rtsp://porter:hunter2@10.0.0.5/stream")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command(config, "--count", 1, tmp_path / "out"), stdin=theirs, stderr=theirs)
    os.close(theirs)
    asked = b""
    while b"[y/N]" not in asked:
        asked += os.read(ours, 4096)
    os.write(ours, b"n\n")
    process.wait(timeout=60)
    os.close(ours)
    assert b"rtsp://***@10.0.0.5/stream" in asked
    assert b"hunter2" not in asked


def test_a_folder_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """Its rights are not changed behind the owner's back; the sentence has the command. A file is no folder."""
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o755)
    done = record(config_file(tmp_path, door="scene:"), "--count", 1, "--yes", out)
    assert done.returncode == 1
    assert f"is open to other users (mode 0755), and frames are private; run chmod 700 {out}" in done.stderr
    assert rights(out) == 0o755
    assert list(out.iterdir()) == []
    with pytest.raises(BadRequestError, match="is not a folder"):
        FrameFolder(tmp_path / "config.toml", "door")


def test_a_camera_that_cannot_be_opened_is_told_in_its_own_words(tmp_path: Path) -> None:
    """The sentence of the camera layer, exit code 1, and no empty folder left behind."""
    config = config_file(tmp_path, door=f"http://127.0.0.1:{free_port()}/stream", yard="scene:")
    done = record(config, "--count", 1, "--yes", "--camera", "door", tmp_path / "out")
    assert done.returncode == 1
    assert re.search(r"The camera door gives no frame: .*cannot be reached \(.*refused\)", done.stderr), done.stderr
    assert done.stdout == "No frame was saved.\n"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"), [((), "choose one with --camera: door, yard"), (("--camera", "x"), "'x'")]
)
def test_which_camera_must_be_clear(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """Of several cameras one is to be named, and one that is there."""
    config = config_file(tmp_path, door="scene:", yard="scene:")
    done = record(config, "--count", 1, "--yes", *arguments, tmp_path / "out")
    assert done.returncode == 1
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_picture_that_never_changes_ends_the_recording(tmp_path: Path) -> None:
    """It is saved once; thirty times the same is no camera that lives, and is told rather than waited for for ever."""
    assert cv2.imwrite(str(tmp_path / "still.png"), picture(3))
    config = config_file(tmp_path, door=f"file:{tmp_path / 'still.png'}")
    done = record(config, "--count", 5, "--interval", 0, "--yes", tmp_path / "out")
    assert done.returncode == 1
    assert "gave the same picture 30 times in a row" in done.stderr
    assert "1 of 5 frames were saved" in done.stdout
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_recording_tells_how_many_there_are(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM: exit code 130, the count, whole files only, and no process of the camera left."""
    config = config_file(tmp_path, door=f"file:{still_pictures(tmp_path / 'shown')}")
    out = tmp_path / "out"
    with recording(config, "--count", 100_000, "--interval", 0, "--yes", out) as process:
        wait_until(lambda: len(list(out.glob("*.png"))) >= 3, "three frames", 60)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        assert len(children) == 1
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == ""
    files = list(out.iterdir())
    assert f"Stopped. {len(files)} of 100000 frames were saved in {out}." in output
    assert all(load_image(file).shape == (HEIGHT_PX, WIDTH_PX, 3) for file in files)
    assert not Path(f"/proc/{children[0]}").exists()


def test_a_camera_that_comes_back_is_recorded_on(tmp_path: Path) -> None:
    """A power cut in the middle is waited out, since the camera has worked before."""
    out = tmp_path / "out"
    with MjpegServer() as server:
        config = config_file(tmp_path, door=server.url)
        with recording(config, "--count", 8, "--interval", 0.5, "--yes", out) as process:
            wait_until(lambda: len(list(out.glob("*.png"))) >= 2, "two frames", 60)
            server.kill()
            server.start()
            _, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (0, "")
    assert len(list(out.iterdir())) == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "the following arguments are required: --count"),
        (("--count", "0"), "argument --count: 0 is out of range; give at least 1"),
        (("--count", "many"), "argument --count: 'many' is not a whole number"),
        (("--count", "3", "--interval", "-1"), "argument --interval: -1 is out of range; give 0 to 86400 seconds"),
        (("--count", "3", "--interval", "nan"), "argument --interval: nan is out of range; give 0 to 86400 seconds"),
        (("--count", "3", "--interval", "abc"), "argument --interval: 'abc' is not a number of seconds"),
    ],
)
def test_wrong_numbers_are_usage_errors(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    """No count, or one that is none, and times that are no times: exit code 2, and words for the person who typed."""
    done = record(config_file(tmp_path, door="scene:"), *arguments, "--yes", tmp_path / "out")
    assert done.returncode == 2
    assert "usage: edge-app record" in done.stderr
    assert done.stderr.splitlines()[-1] == f"edge-app record: error: {words}"
