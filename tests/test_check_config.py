"""`edge-app check-config`: what is in force, without secrets, or everything that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

from edge_app.commands.check_config import to_toml
from edge_app.config import load_config

GOOD = """
[mqtt]
host = "broker.example"
user = "kitchen"
password_file = "{password}"
tls = true
[model]
bundles = ["{folder}/bündel \\"x\\""]
[[camera]]
name = "door"
source = "rtsp://admin:secret@10.0.0.5/stream"
[[camera]]
name = "yard"
source = "/dev/video0"
"""


def check_config(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_app", "check-config", "--config", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def good_file(folder: Path) -> Path:
    password = folder / "password"
    password.write_text("hunter2\n")
    password.chmod(0o600)
    bundle = folder / 'bündel "x"'
    bundle.mkdir(exist_ok=True)
    (bundle / "manifest.json").touch()
    path = folder / "config.toml"
    path.write_text(GOOD.format(password=password, folder=folder), encoding="utf-8")
    return path


def test_settings_in_force_are_printed_as_toml_without_secrets(tmp_path: Path) -> None:
    """The output is TOML again and has defaults in it, but no password, no password file, no camera login."""
    done = check_config(good_file(tmp_path))
    assert done.returncode == 0, done.stderr
    tables = tomllib.loads(done.stdout)
    assert tables["mqtt"]["keepalive_s"] == 15
    assert tables["model"]["bundles"] == [f'{tmp_path}/bündel "x"']
    assert [camera["source"] for camera in tables["camera"]] == ["rtsp://***@10.0.0.5/stream", "/dev/video0"]
    for secret in ("hunter2", "password_file", "secret", "admin"):
        assert secret not in done.stdout


def test_printed_settings_mean_the_same_when_read_again(tmp_path: Path) -> None:
    """A file without secrets survives the round trip."""
    path = tmp_path / "config.toml"
    path.write_text('[model]\nbundles = ["b"]\n[[camera]]\nname = "door"\nsource = "scene:"\n')
    config = load_config(path, environ={})
    path.write_text(to_toml(config), encoding="utf-8")
    assert load_config(path, environ={}) == config


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """All errors with their keys on stderr, nothing on stdout, exit code 78."""
    path = tmp_path / "config.toml"
    path.write_text("[mqtt]\nport = 70000\nhots = 'x'\n")
    done = check_config(path)
    assert (done.returncode, done.stdout) == (78, "")
    for key in ("mqtt.port", "mqtt.hots", "model", "camera"):
        assert key in done.stderr


def test_wrong_fields_hide_neither_wrong_combinations_nor_missing_files(tmp_path: Path) -> None:
    """Faults of every sort in one file, several a table: each is told, with its key, and nothing else."""
    open_key = tmp_path / "client.key"
    open_key.write_text("key\n")
    open_key.chmod(0o644)
    path = tmp_path / "config.toml"
    path.write_text(f"""
        [mqtt]
        qos = 7
        hots = "broker"
        password_file = "{tmp_path}/no-password"
        tls_ca_certs = "{tmp_path}/no-ca.pem"
        tls_client_key = "{open_key}"
        [model]
        threads = -1
        bundles = ["{tmp_path}/no-bundle"]
        [ask]
        queue_length = 0
        timeout_s = 61
        [display]
        backend = "file"
        [[camera]]
        name = "door"
        source = "foo:bar"
        [[camera]]
        name = "door"
        source = "scene:"
        fps = 0
    """)
    expected = {
        "mqtt.qos": "write 0 or 1",
        "mqtt.hots": "did you mean host?",
        "mqtt.password_file": "without user",
        "mqtt.password_file ": "No such file",
        "mqtt.tls_ca_certs": "No such file",
        "mqtt.tls_client_key": "without tls_client_cert",
        "mqtt.tls_client_key ": "open to every user",
        "model.threads": "-1",
        "model.bundles.0": "There is no bundle",
        "ask.queue_length": "It is 0; write 1 or more",
        "ask.timeout_s": "timeout_s is 61 but max_timeout_s only 60",
        "display.path": "name the picture file",
        'camera.0.source (camera number 1, "door")': "'foo:bar' is of no known kind",
        'camera.1.fps (camera number 2, "door")': "It is 0; write 1 or more",
        "camera": "'door' is used twice",
    }
    done = check_config(path, "--json")
    found = json.loads(done.stdout)["problems"]
    for key, words in expected.items():
        assert any(one.startswith(f"{key.strip()}: ") and words in one for one in found), (key, words, found)
    assert len(found) == len(expected), found


def test_json_has_problems_or_settings(tmp_path: Path) -> None:
    """One JSON object on stdout in either case."""
    path = tmp_path / "config.toml"
    path.write_text("[mqtt]\nport = 70000\n")
    done = check_config(path, "--json")
    assert done.returncode == 78
    assert any("mqtt.port" in problem for problem in json.loads(done.stdout)["problems"])
    done = check_config(good_file(tmp_path), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["config"]["camera"][0]["name"] == "door"
