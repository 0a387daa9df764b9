"""A GStreamer pipeline as a camera: with an OpenCV that has GStreamer, and the sentence for one that has not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import edge_app
from edge_app.camera import open_source
from edge_app.camera.gstreamer import SINK, with_sink
from edge_app.errors import CameraError
from edge_app.settings import CameraConfig

HAS_GSTREAMER = cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)

# Wheels of OpenCV are mostly without GStreamer, packages of distributions with it: another Python may have it.
OTHER_PYTHON = shutil.which("python3", path="/usr/bin")
ASK = "import cv2; raise SystemExit(not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER))"
PLAY = """
import sys
from edge_app.camera.gstreamer import GStreamerSource
from edge_app.errors import CameraError
try:
    source = GStreamerSource(sys.argv[1], fps=100)
    print(source.description)
    image = source.read()
    print(image.shape, image.reshape(-1, 3).min(axis=0).tolist(), image.reshape(-1, 3).max(axis=0).tolist())
    while True:
        source.read()
except CameraError as error:
    print(error)
"""


def run_elsewhere(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code with whichever Python here has an OpenCV with GStreamer; skip where none has."""
    if HAS_GSTREAMER:
        python, search = sys.executable, ""
    elif OTHER_PYTHON is not None:
        python, search = OTHER_PYTHON, os.environ.get("EDGE_APP_TEST_GSTREAMER_PATH", "")
    else:
        pytest.skip("no Python here has an OpenCV with GStreamer")
    ours = [entry for entry in sys.path if entry.endswith("site-packages")]  # without our standard library
    packages = [entry for entry in (search, str(Path(edge_app.__file__).parents[1]), *ours) if entry]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(packages)}
    if subprocess.run([python, "-c", ASK], env=environ, capture_output=True, check=False).returncode != 0:
        pytest.skip("no Python here has an OpenCV with GStreamer")
    return subprocess.run(
        [python, "-c", *arguments], env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_pipeline_without_a_sink_gets_the_one_that_is_read() -> None:
    """A pipeline's own appsink stays; else BGR pictures end in one that keeps the newest."""
    assert with_sink("videotestsrc ! appsink drop=true") == "videotestsrc ! appsink drop=true"
    assert with_sink(" videotestsrc ! ") == f"videotestsrc ! {SINK}"


@pytest.mark.skipif(HAS_GSTREAMER, reason="this OpenCV has GStreamer")
def test_an_opencv_without_gstreamer_is_told() -> None:
    """What is missing and what to do instead, in one sentence."""
    with pytest.raises(CameraError, match=r"built without GStreamer .* use the bridge to a V4L2 device"):
        open_source(CameraConfig(name="door", source="gst:videotestsrc"))


def test_a_pipeline_gives_its_pictures_until_it_ends() -> None:
    """A real one, all blue: BGR of the size it says; its end is a failure that the worker opens it again for."""
    pipeline = "videotestsrc pattern=blue num-buffers=20 ! video/x-raw,width=320,height=240,framerate=30/1"
    told = run_elsewhere(PLAY, pipeline).stdout.splitlines()
    assert told[0] == "GStreamer pipeline: 320x240, at most 100 fps are used"
    assert told[1] == "(240, 320, 3) [255, 0, 0] [255, 0, 0]"
    assert told[2] == "The GStreamer pipeline gives no frames; it has ended."


def test_a_pipeline_that_does_not_start_is_told() -> None:
    """A source that cannot begin."""
    told = run_elsewhere(PLAY, "filesrc location=/nonexistent ! decodebin").stdout
    assert "could not be started; try it with gst-launch-1.0" in told
