"""The main job at full size: real video of real photos, an INT8 BLIP-base, a real mosquitto, other people's clients."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.broker import Broker, Watcher, body, broker, needs_mosquitto

__all__ = ["broker"]
pytestmark = [pytest.mark.fullsize, pytest.mark.timeout(1800), needs_mosquitto]

Picture = NDArray[np.uint8]
NODE = "edge_app/kitchen"
FPS = 10
FIRST_CAPTION_S = 120  # hashing 400 MB, compiling five graphs, the golden sample, on a busy machine
QUESTION = "is there a person in the picture?"


@contextmanager
def mjpeg_stream(photos: list[Picture]) -> Iterator[str]:
    """An HTTP camera that shows the photos in turn, 640x480 at 10 fps; the value is its address."""
    jpegs = [cv2.imencode(".jpg", cv2.resize(photo, (640, 480)))[1].tobytes() for photo in photos]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            number = 0
            while True:
                jpeg = jpegs[number // FPS % len(jpegs)]
                try:
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                    self.wfile.write(f"Content-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n")
                except OSError:  # the camera process has ended
                    return
                number += 1
                time.sleep(1 / FPS)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name="camera", daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/video"
        server.shutdown()


@contextmanager
def video_file(photos: list[Picture], folder: Path) -> Iterator[str]:
    """A video file of the photos, a second each; the value is its source string."""
    path = folder / "photos.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (640, 480))
    for photo in photos:
        for _ in range(FPS):
            writer.write(cv2.resize(photo, (640, 480)))
    writer.release()
    yield f"file:{path}"


@pytest.mark.parametrize("kind", ["HTTP MJPEG stream", "video file"])
def test_captions_arrive_and_both_kinds_of_client_get_their_answer(
    kind: str,
    broker: Broker,
    tmp_path: Path,
    photos: list[Picture],
    fullsize_bundle: Callable[[str, str], tuple[Path, Path]],
) -> None:
    """Captions of newer and newer frames; `mosquitto_rr` (MQTT 5) gets its answer, a 3.1.1 client its own by id."""
    bundle, _ = fullsize_bundle("vqa", "int8")
    stream = mjpeg_stream(photos[:6]) if kind.startswith("HTTP") else video_file(photos[:6], tmp_path)
    watcher = Watcher(broker.port, f"{NODE}/#")
    old_client = Watcher(broker.port, f"{NODE}/answer", protocol="3.1.1")
    with stream as source, (tmp_path / "service.log").open("wb") as log:
        config = tmp_path / "config.toml"
        config.write_text(
            f"""
            node.id = "kitchen"
            mqtt = {{ host = "127.0.0.1", port = {broker.port} }}
            model = {{ bundles = ["{bundle}"], device = "CPU" }}
            caption.interval_s = 1
            ask = {{ timeout_s = 60, max_timeout_s = 60 }}
            camera = [{{ name = "door", source = "{source}" }}]
            """.replace("            ", ""),
            encoding="utf-8",
        )
        service = subprocess.Popen([sys.executable, "-m", "edge_app", "run", "--config", str(config)], stderr=log)
        try:
            first = body(watcher.expect(lambda m: m.topic.endswith("/caption"), "a caption", FIRST_CAPTION_S))
            assert (first["status"], first["model"], first["device"]) == ("ok", bundle.name, "CPU")
            newer = lambda m: m.topic.endswith("/caption") and body(m)["frame_id"] > first["frame_id"]  # noqa: E731
            second = body(watcher.expect(newer, "a caption of a newer frame", 60))
            assert second["text"]

            new_client = [shutil.which("mosquitto_rr") or "mosquitto_rr", "-p", str(broker.port), "-V", "5", "-W", "60"]
            new_client += ["-t", f"{NODE}/ask", "-e", "reply/me", "-m", QUESTION]
            reply = subprocess.run(new_client, capture_output=True, text=True, check=True, timeout=90)
            answer = json.loads(reply.stdout)
            assert (answer["status"], answer["question"], answer["camera"]) == ("ok", QUESTION, "door")
            assert answer["tokens"] > 0
            assert answer["frame_id"] >= second["frame_id"]

            old_client.publish(f"{NODE}/ask", json.dumps({"id": "mine", "question": QUESTION}))
            mine = body(old_client.expect(lambda m: body(m)["id"] == "mine", "the answer by id", 60))
            assert (mine["status"], mine["error"]) == ("ok", None)
        finally:
            service.send_signal(signal.SIGTERM)
            started_s = time.monotonic()
            assert service.wait(20) == 0, (tmp_path / "service.log").read_text(encoding="utf-8")
            assert time.monotonic() - started_s < 5
            watcher.close()
            old_client.close()
