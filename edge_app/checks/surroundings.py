"""What the service is connected to: cameras and the broker."""

from __future__ import annotations

import queue
from collections.abc import Iterator

from edge_app.checks import Check
from edge_app.checks.inference import first_event
from edge_app.child import Child
from edge_app.errors import ConfigError
from edge_app.frames import FrameBuffer
from edge_app.mqtt.connection import Connection
from edge_app.mqtt.events import Connected, Event, Unreachable
from edge_app.mqtt.topics import Topics
from edge_app.settings import CameraConfig, Config, without_credentials

CAMERA_MODULE = "edge_app.camera.worker"
CAMERA_TIMEOUT_S = 20.0  # a network camera negotiates for seconds
BROKER_TIMEOUT_S = 10.0


def check_surroundings(config: Config) -> Iterator[Check]:
    """Each camera, and the broker."""
    for camera in config.camera:
        yield check_camera(camera)
    yield check_broker(config)


def check_camera(config: CameraConfig) -> Check:
    """Open a camera as the service does, in a process that can be killed, and wait for its first frame."""
    name, source = f"camera {config.name}", without_credentials(config.source)
    buffer = FrameBuffer.create(config.name)
    hello = {"camera": config.model_dump(mode="json"), "frames_fd": buffer.fd, "log_level": "ERROR"}
    child = Child(config.name, CAMERA_MODULE, hello=hello, pass_fds=(buffer.fd,))
    child.start()
    try:
        event = first_event(child, {"opened", "failed"}, CAMERA_TIMEOUT_S)  # "opened" comes with the first frame
        end = child.exit_reason
    finally:
        child.stop(1.0)
        buffer.close()
    if event is None:
        what = f"its process {end}" if end else f"it did not open within {CAMERA_TIMEOUT_S:g} s"
        return Check(name, "fail", f"{source}: {what}.", "Check cable and address.")
    if event["event"] == "failed":
        return Check(name, "fail", event["reason"], "See `edge-app cameras`; stop the service if it runs.")
    return Check(name, "ok", event["detail"])


def check_broker(config: Config) -> Check:
    """Connect to the broker as the service does: name, port, TLS, user and password."""
    mqtt = config.mqtt
    where = f"{mqtt.host}:{mqtt.effective_port}"
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    # Not the service's id, which would throw a running service out, and not its will.
    client_id = f"{mqtt.client_id or f'edge-app-{config.node.id}'}-doctor"
    will_topic = f"{Topics(mqtt.base, config.node.id).root}/doctor"
    try:
        connection = Connection(mqtt, client_id, will_topic, events.put, lambda _: True)
    except ConfigError as error:
        return Check("broker", "fail", str(error), "Correct the file it names.")
    connection.start()
    try:
        event = events.get(timeout=BROKER_TIMEOUT_S)
    except queue.Empty:
        event = Unreachable(f"no answer within {BROKER_TIMEOUT_S:g} s")
    finally:
        connection.stop(1.0)
    if isinstance(event, Connected):
        return Check("broker", "ok", f"{where} accepts MQTT {mqtt.protocol}{' over TLS' if mqtt.uses_tls else ''}")
    reason = event.reason if isinstance(event, Unreachable) else str(event)
    mend = "Check mqtt.host, mqtt.port, user and password, and that the broker runs."
    return Check("broker", "fail", f"{where}: {reason}", mend)
