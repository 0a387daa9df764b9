"""What must not get out does not: passwords and keys in no output of any kind, pictures on no disk, wire or log."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.config import load_config
from edge_app.errors import ConfigError
from tests.broker import PATIENCE_S, Broker, Watcher, broker, needs_mosquitto, wait_until
from tests.fuzz.targets import DEMO_BUNDLE
from tests.site import Site, SiteBroker, person
from tests.streams import free_port

__all__ = ["broker"]
pytestmark = needs_mosquitto

CAMERA_SECRETS = ("rtsp-passw0rd", "http-passw0rd", "url-t0ken", "filed-4f5a6b7c")


@contextlib.contextmanager
def running_service(config: Path, log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """The service as a user starts it, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_app", "run", "--config", str(config)],
            stdout=output,
            stderr=output,
            env={**os.environ, **environ},
        )
    try:
        yield process
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def family(pid: int) -> list[Path]:
    """A process and all below it, as folders of /proc."""
    children: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():  # each has its own children
        with contextlib.suppress(FileNotFoundError):  # one that has just ended has none
            children += map(int, (thread / "children").read_text(encoding="ascii").split())
    return [Path(f"/proc/{pid}"), *(process for child in children for process in family(child))]


def command_line(process: Path) -> bytes:
    return (process / "cmdline").read_bytes()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site")


@pytest.fixture
def site_broker(site: Site, tmp_path: Path) -> Iterator[SiteBroker]:
    running = SiteBroker(site, tmp_path / "site-broker")
    yield running
    running.stop()


def config_with_secrets(site: Site, port: int, folder: Path) -> Path:
    """A board with a password, a key, and cameras that want passwords and are not there."""
    rtsp, http, token, filed = CAMERA_SECRETS
    login = folder / "login"
    login.write_text(f"admin:{filed}", encoding="utf-8")
    login.chmod(0o600)
    path = folder / "config.toml"
    path.write_text(
        f"""
        [node]
        id = "garden"
        [mqtt]
        host = "127.0.0.1"
        port = {port}
        user = "garden"
        password_file = "{site.password_file("garden")}"
        tls_ca_certs = "{site.folder}/ca.pem"
        tls_client_cert = "{site.folder}/kitchen.pem"
        tls_client_key = "{site.folder}/kitchen.key"
        [model]
        bundles = ["{DEMO_BUNDLE}"]
        [caption]
        interval_s = 0
        [health]
        interval_s = 1
        [log]
        level = "DEBUG"
        [[camera]]
        name = "scene"
        source = "scene:"
        height_px = 240
        [[camera]]
        name = "rtsp"
        source = "rtsp://admin:{rtsp}@127.0.0.1:{free_port()}/stream"
        [[camera]]
        name = "http"
        source = "http://admin:{http}@127.0.0.1:{free_port()}/video?token={token}"
        [[camera]]
        name = "filed"
        source = "rtsp://127.0.0.1:{free_port()}/stream"
        credentials_file = "{login}"
        """,
        encoding="utf-8",
    )
    return path


def secrets_of(site: Site) -> list[bytes]:
    """The secrets themselves; of the key a line of its body."""
    key = (site.folder / "kitchen.key").read_text(encoding="ascii").splitlines()[1]
    return [text.encode() for text in (site.password("garden"), key, *CAMERA_SECRETS)]


def test_no_secret_gets_out_whatever_fails(site: Site, site_broker: SiteBroker, tmp_path: Path) -> None:
    """Not by MQTT, log (at DEBUG), command lines or environment, while children die and the broker turns us away."""
    config, log = config_with_secrets(site, site_broker.password_port, tmp_path), tmp_path / "log"
    watchers = [person(site, site_broker, user, "#") for user in ("homeassistant", "asker")]
    public = bytearray()
    with running_service(config, log) as service:
        see, ask = watchers
        see.expect(lambda message: message.topic == "edge_app/garden/camera/scene/caption", "a caption", 60)
        for payload in ("what is it", '{"question": 1}', '{"camera": "rtsp", "question": "what is it"}'):
            ask.publish("edge_app/garden/ask", payload, response_topic="edge_app/garden/reply/asker/1")
        ask.publish("edge_app/garden/request/info", "")
        ask.expect(lambda message: message.topic == "edge_app/garden/response/info", "info")
        wait_until(lambda: ask.count("edge_app/garden/reply/asker/1") == 3, "three answers")
        for process in family(service.pid):
            public += command_line(process) + (process / "environ").read_bytes()
        for module in (b"edge_app.model.worker", b"edge_app.camera.worker"):
            victim = next(process for process in family(service.pid) if module in command_line(process))
            os.kill(int(victim.name), signal.SIGSEGV)
        wait_until(lambda: b"camera process ended" in log.read_bytes(), "the end of a camera")
        wait_until(lambda: b"camera failed camera=http" in log.read_bytes(), "the failure of a camera")
        site_broker.stop()
        (site_broker.folder / "passwords").write_text("", encoding="ascii")
        site_broker.start()
        wait_until(lambda: b"Not authorized" in log.read_bytes(), "the broker to turn the service away")
    for watcher in watchers:
        public += b"".join(message.topic.encode() + bytes(message.payload) for message in watcher.messages)
        watcher.close()
    public += log.read_bytes()
    for command in (["doctor", "--json"], ["check-config"], ["check-config", "--json"]):
        public += output_of(*command, "--config", config)
    assert b"rtsp://***@127.0.0.1" in public  # it is looked for in the right place
    for secret in secrets_of(site):
        assert secret not in public


def output_of(*arguments: object) -> bytes:
    """All that a verb of the command line says."""
    command = [sys.executable, "-m", "edge_app", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    return done.stdout + done.stderr


RTSP = '"rtsp://admin:rtsp-passw0rd@10.0.0.5/stream?token=url-t0ken"'


@pytest.mark.parametrize(
    "text",
    [
        f"[camera]\nname = 'door'\nsource = {RTSP}",
        f"[[camera]]\nname = 'door'\nsource = [{RTSP}]",
        f"[[camera]]\nname = 'door'\nsource = {{url = {RTSP}}}",
        f"[[camera]]\nname = {RTSP}\nsource = 'scene:'",
        f"[[camera]]\nname = 'door'\nsource = {RTSP.replace('rtsp:', 'rtps:')}",
        f"camera = [{RTSP}]",
        f"camera = {RTSP}",
        f"mqtt = {RTSP}\n[[camera]]\nname = 'door'\nsource = 5",
        "[mqtt]\npassword = 'rtsp-passw0rd'\nuser = 'url-t0ken'\npassword_file = 5",
    ],
)
def test_a_wrong_configuration_is_told_without_its_secrets(tmp_path: Path, text: str) -> None:
    """A problem quotes the value that is wrong, and an address in it loses its login and its query."""
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    for secret in CAMERA_SECRETS:
        assert secret not in str(caught.value)


def planted_picture(folder: Path) -> tuple[Path, list[bytes]]:
    """A picture file [240, 320, 3], and byte strings that only it and copies of it hold: rows, as BGR and as RGB."""
    image = np.random.default_rng(7).integers(0, 256, (240, 320, 3), np.uint8)
    path = folder / "planted.png"
    cv2.imwrite(str(path), image)
    rows = [image[120, :8], image[120, :8, ::-1], image[120, :24, 0]]
    return path, [row.tobytes() for row in rows]


PICTURE_FILE = re.compile(
    rb"\xff\xd8\xff[\xe0\xe1\xdb\xee]..(JFIF|Exif)|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM.{4}\0\0\0\0", re.S
)
PICTURE_TEXT = re.compile(rb"/9j/4[A-Za-z0-9+/]{20}|iVBORw0KGgo")  # the beginnings of JPEG and PNG in base64


def traces(data: bytes, raw: list[bytes]) -> list[str]:
    """What in `data` is a picture, or a part of the planted one."""
    encoded = [base64.b64encode(part)[:-4] for part in raw]
    found = [pattern.pattern.decode("latin-1") for pattern in (PICTURE_FILE, PICTURE_TEXT) if pattern.search(data)]
    return found + [ascii(part) for part in (*raw, *encoded) if part in data]


def config_with_picture(folder: Path, port: int, picture: Path, display: str = "") -> Path:
    path = folder / "config.toml"
    path.write_text(
        f"""
        [node]
        id = "kitchen"
        [mqtt]
        host = "127.0.0.1"
        port = {port}
        [model]
        bundles = ["{DEMO_BUNDLE}"]
        cache_dir = "{folder}/written/cache"
        [caption]
        interval_s = 0
        [log]
        level = "DEBUG"
        {display}
        [[camera]]
        name = "door"
        source = "file:{picture}"
        """,
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("display", ["", "file"])
def test_no_picture_leaves_the_memory_unless_configured(broker: Broker, tmp_path: Path, display: str) -> None:
    """All that the service writes is searched; with the display's file, which is a picture, the search finds it."""
    picture, raw = planted_picture(tmp_path)
    written = tmp_path / "written"
    for name in ("state", "cache", "tmp", "home", "run"):
        (written / name).mkdir(parents=True)
    shown = f'[display]\nbackend = "file"\npath = "{written}/run/overlay.jpg"' if display else ""
    config = config_with_picture(tmp_path, broker.port, picture, shown)
    watcher = Watcher(broker.port, "#")
    environ = {"STATE_DIRECTORY": f"{written}/state", "TMPDIR": f"{written}/tmp", "HOME": f"{written}/home"}
    with running_service(config, written / "log", **environ) as service:
        topic = "edge_app/kitchen/camera/door/caption"
        watcher.expect(lambda message: message.topic == topic, "a caption", 60)
        watcher.publish("edge_app/kitchen/ask", '{"question": "what is it", "region": [0, 0, 0.5, 1]}')
        watcher.expect(lambda message: message.topic == "edge_app/kitchen/answer", "an answer")
        if display:
            wait_until((written / "run/overlay.jpg").exists, "the picture of the display")
        for process in family(service.pid):
            limits = (process / "limits").read_text(encoding="ascii")
            assert re.search(r"Max core file size +0 +0 ", limits), process
        model = next(process for process in family(service.pid) if b"edge_app.model.worker" in command_line(process))
        os.kill(int(model.name), signal.SIGSEGV)
        wait_until(lambda: b"SIGSEGV" in (written / "log").read_bytes(), "the end of the model")
    files = [path for path in written.rglob("*") if path.is_file()]
    assert any(path.suffix == ".blob" for path in files)  # it is looked for in the right place
    assert [path for path in files if path.is_relative_to(written / "home")] == []  # where telemetry leaves its ids
    found = {str(path): marks for path in files if (marks := traces(path.read_bytes(), raw))}
    assert list(found) == ([f"{written}/run/overlay.jpg"] if display else [])
    wire = b"".join(bytes(message.payload) for message in watcher.messages)
    assert traces(wire, raw) == []
    watcher.close()


def test_the_search_finds_each_kind_of_trace(tmp_path: Path) -> None:
    """A test that cannot fail is none: files, raw rows and base64 are found, noise is not."""
    picture, raw = planted_picture(tmp_path)
    image = cv2.imread(str(picture))
    assert image is not None
    for suffix in (".jpg", ".png", ".bmp", ".webp"):
        assert traces(b"x" * 100 + cv2.imencode(suffix, image)[1].tobytes(), raw), suffix
    assert traces(image.tobytes(), raw)
    assert traces(image[:, :, ::-1].tobytes(), raw)
    assert traces(base64.b64encode(cv2.imencode(".jpg", image)[1].tobytes()), raw)
    assert traces(np.random.default_rng(8).bytes(1 << 22), raw) == []
