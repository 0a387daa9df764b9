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
bundles = ["/opt/bündel \\"x\\""]
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
    path = folder / "config.toml"
    path.write_text(GOOD.format(password=password), encoding="utf-8")
    return path


def test_settings_in_force_are_printed_as_toml_without_secrets(tmp_path: Path) -> None:
    """The output is TOML again and has defaults in it, but no password, no password file, no camera login."""
    done = check_config(good_file(tmp_path))
    assert done.returncode == 0, done.stderr
    tables = tomllib.loads(done.stdout)
    assert tables["mqtt"]["keepalive_s"] == 15
    assert tables["model"]["bundles"] == ['/opt/bündel "x"']
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
