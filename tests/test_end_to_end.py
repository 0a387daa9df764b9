"""Everything real at once: `edge-app run`, a drawn camera, the model's own process on small bundles, mosquitto."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from edge_app.health import rss_mib
from tests.broker import PATIENCE_S, Broker, Watcher, body, broker, needs_mosquitto

__all__ = ["broker"]
pytestmark = needs_mosquitto
NODE = "edge_app/kitchen"
SERVICE_RSS_MIB = 80  # measured: 49; with OpenCV or OpenVINO in it, it would be above 150


def test_the_service_captions_and_answers_with_a_real_model(
    broker: Broker, tmp_path: Path, small_bundle: Callable[..., Path]
) -> None:
    """One caption and two answers about newer and newer frames, the device told, an orderly end."""
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        [node]
        id = "kitchen"
        [mqtt]
        host = "127.0.0.1"
        port = {broker.port}
        [model]
        bundles = ["{small_bundle("caption")}", "{small_bundle("vqa")}"]
        device = "CPU"
        threads = 1
        [store]
        dir = "{tmp_path / "state"}"
        [[camera]]
        name = "door"
        source = "scene:seed=3"
        width_px = 480
        height_px = 480
        """,
        encoding="utf-8",
    )
    watcher = Watcher(broker.port, f"{NODE}/#", "reply/#")
    with (tmp_path / "service.log").open("wb") as log:
        service = subprocess.Popen([sys.executable, "-m", "edge_app", "run", "--config", str(config)], stderr=log)
    try:
        caption = body(watcher.expect(lambda message: message.topic == f"{NODE}/camera/door/caption", "a caption", 60))
        assert (caption["status"], caption["device"], caption["tokens"] > 0) == ("ok", "CPU", True)
        assert caption["timing_ms"]["vision"] > 0
        watcher.publish(f"{NODE}/ask", "is it red?", response_topic="reply/1", correlation=b"\x00\xff")
        watcher.publish(f"{NODE}/ask", '{"question": "which?", "choices": ["red", "blue"]}', response_topic="reply/2")
        first = body(watcher.expect(lambda message: message.topic == "reply/1", "the first answer"))
        second = body(watcher.expect(lambda message: message.topic == "reply/2", "the second answer"))
        assert (first["status"], first["error"]) == ("ok", None)
        assert 0 <= first["confidence"] <= 1
        assert second["text"] in {"red", "blue"}
        assert first["frame_id"] >= caption["frame_id"]
        info = body(
            watcher.expect(
                lambda message: message.topic == f"{NODE}/info" and body(message)["model"]["state"] == "ready", "info"
            )
        )
        assert len(info["model"]["bundles"]) == 2
        memory_mib = rss_mib(service.pid)
        assert memory_mib is not None and memory_mib < SERVICE_RSS_MIB
    finally:
        service.send_signal(signal.SIGTERM)
        assert service.wait(PATIENCE_S) == 0, (tmp_path / "service.log").read_text(encoding="utf-8")
        watcher.close()
