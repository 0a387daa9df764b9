"""Secrets of a configuration: whose files they may be in, over which link they go, and that they are shown nowhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge_app.config import check_files
from edge_app.errors import ConfigError
from edge_app.inbox import Inbox
from edge_app.mqtt.connection import Connection
from edge_app.settings import without_credentials
from tests.config_text import MINIMAL, load, problems


def test_a_secret_of_the_second_camera_is_told_as_its_own(tmp_path: Path) -> None:
    """What is wrong with a file is told with the same words about where."""
    yard = f'[[camera]]\nname = "yard"\nsource = "rtsp://c/"\ncredentials_file = "{tmp_path}/none"\n'
    config = load(tmp_path, MINIMAL + yard)
    with pytest.raises(
        ConfigError, match=r'^camera\.1\.credentials_file \(camera number 2, "yard"\): .* cannot be read'
    ):
        check_files(config)


def test_a_plaintext_password_leaves_this_machine_only_when_told_to(tmp_path: Path) -> None:
    """A password over an unencrypted link is for loopback, or for those who ask for it by name."""
    text = MINIMAL + '[mqtt]\nuser = "node"\npassword_file = "secret"\n'
    assert any("unencrypted" in problem for problem in problems(tmp_path, text + 'host = "broker"\n'))
    for allowed in ('host = "127.0.0.1"', 'host = "b"\ntls = true', 'host = "b"\nallow_plaintext_password = true'):
        load(tmp_path, text + allowed)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (MINIMAL + '[mqtt]\nuser = "node"\npassword_file = "SECRET"\n', "mqtt.password_file"),
        (MINIMAL.replace("scene:", "rtsp://c/") + 'credentials_file = "SECRET"\n', "camera.0.credentials_file"),
    ],
)
def test_a_secret_that_everybody_can_read_is_refused(tmp_path: Path, text: str, key: str) -> None:
    """The files named by password_file, tls_client_key and credentials_file are for the service alone."""
    secret = tmp_path / "secret"
    secret.write_text("hidden\n", encoding="utf-8")
    config = load(tmp_path, text.replace("SECRET", str(secret)))
    for mode in (0o600, 0o400, 0o440):  # the last two are those of systemd's credentials
        secret.chmod(mode)
        check_files(config)
    secret.chmod(0o604)
    with pytest.raises(ConfigError, match=f"{re.escape(key)}: .* open to every user"):
        check_files(config)
    secret.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        check_files(config)


@pytest.mark.parametrize("content", ["", "\n", " \r\nhidden\n"])
def test_a_password_file_without_a_password_is_refused(tmp_path: Path, content: str) -> None:
    """The broker would only say that we are not authorized."""
    secret = tmp_path / "secret"
    secret.write_text(content, encoding="utf-8")
    secret.chmod(0o600)
    config = load(tmp_path, MINIMAL + f'[mqtt]\nuser = "node"\npassword_file = "{secret}"\n')
    with pytest.raises(ConfigError, match="has nothing in its first line; write the password"):
        check_files(config)
    with pytest.raises(ConfigError, match="has nothing in its first line; write the password"):
        Connection(config.mqtt, "id", "will", lambda _event: None, Inbox().offer)


def test_systemds_copy_of_a_secret_is_read_in_place_of_the_file(tmp_path: Path) -> None:
    """`credentials/FILE` is `credentials_FILE` in systemd's folder; a file that systemd did not copy stays named."""
    given = tmp_path / "given"
    given.mkdir()
    (given / "credentials_mqtt-password").write_text("hidden\n", encoding="utf-8")
    environ = {"CREDENTIALS_DIRECTORY": str(given)}
    secrets = '[mqtt]\nuser = "node"\ntls = true\npassword_file = "/etc/edge-app/credentials/mqtt-password"\n'
    pem = '"/etc/edge-app/credentials/client.pem"\n'  # certificate and key in one
    others = f"tls_client_cert = {pem}tls_client_key = {pem}"
    mqtt = load(tmp_path, MINIMAL + secrets + others, environ).mqtt
    assert mqtt.password_file == given / "credentials_mqtt-password"
    (given / "credentials_door").touch()
    camera = MINIMAL.replace("scene:", "rtsp://c/") + 'credentials_file = "/etc/edge-app/credentials/door"\n'
    assert load(tmp_path, camera, environ).camera[0].credentials_file == given / "credentials_door"
    assert mqtt.tls_client_cert == Path("/etc/edge-app/credentials/client.pem")
    assert load(tmp_path, MINIMAL + secrets).mqtt.password_file == Path("/etc/edge-app/credentials/mqtt-password")


@pytest.mark.parametrize(
    "secret",
    [
        "user-pw=s3cret",
        'user-pw="top s3cret"',
        "user-pw='top s3cret'",
        "user-pw=top\\ s3cret",
        r'user-pw="a\"s3cret"',
        r"user-pw='a\'b s3cret'",
        'user-pw=a"b s3cret"c',
        "user-pw=(string)s3cret",
        'user-pw = "s3cret that is not closed',
        "proxy-pw=s3cret",
        "passphrase=s3cret",
        "secret-access-key=s3cret",
    ],
)
def test_a_secret_of_a_pipeline_is_not_shown(tmp_path: Path, secret: str) -> None:
    """However it is quoted or escaped, in what is published and in each error; all around it stays readable."""
    pipeline = f"gst:rtspsrc location=rtsp://c/ user-id=me {secret} ! x"
    shown = without_credentials(pipeline)
    assert "s3cret" not in shown
    assert shown.startswith("gst:rtspsrc location=rtsp://c/ user-id=*** ")
    assert shown.endswith("*** ! x") or "not closed" in secret
    told = problems(tmp_path, MINIMAL.replace('"scene:"', f"[{json.dumps(pipeline)}]"))
    assert any("camera.0.source: It is ['gst:rtspsrc " in problem for problem in told)
    assert "s3cret" not in "".join(told)
    camera = f"camera = {json.dumps(pipeline)}\n" + MINIMAL.partition("[[camera]]")[0]
    assert "s3cret" not in "".join(problems(tmp_path, camera))


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://admin:s3cret/x@c/stream",
        "rtsp://admin:a?s3cret@c/stream",
        "http://admin:a#s3cret@c/stream",
        "rtsp://admin:1/s3cret@c/stream",
        "rtsp://s3cret:x/stream",
        "rtsp://[s3cret/stream",
        "rtsp://admin:s3cret\u2100@c/stream",
        "rtsp:///s3cret@c",
        "rtsp:/admin:s3cret@c",
        "admin:s3cret@c",
        "rtsp://admin:s3 cret@c/",
        "http://c/video?pwd=s3cret\x01",
    ],
)
def test_a_password_that_spoils_its_address_is_refused_and_not_shown(tmp_path: Path, source: str) -> None:
    """A / ? or # before the last @ ends the host too early: said with what to write, without a part of the address."""
    for value in (json.dumps(source), f"[{json.dumps(source)}]"):
        told = problems(tmp_path, MINIMAL.replace('"scene:"', value))
        assert any("camera.0.source: " in problem for problem in told)
        if "@" in source or value[0] == '"':
            assert "s3cret" not in "".join(told) and "s3 cret" not in "".join(told)
    assert load(tmp_path, MINIMAL.replace("scene:", "rtsp://admin:a%2Fb%40@c:554/x?y=1")).camera[0].source


def test_published_configuration_holds_no_secret(tmp_path: Path) -> None:
    """What `info` shows has no password in a URL and no path of a secret."""
    text = MINIMAL.replace("scene:", "rtsp://admin:hidden@cam/1") + '[mqtt]\nuser="u"\npassword_file="hidden"\n'
    assert "hidden" not in str(load(tmp_path, text).public())
    text = MINIMAL.replace("scene:", "rtsp://cam/1") + 'credentials_file = "hidden"\n'
    assert "hidden" not in str(load(tmp_path, text).public())
    assert without_credentials("rtsp://a:b@c@host/x") == "rtsp://***@host/x"
    assert without_credentials("rtsp://a:b/c@host/x") == "rtsp://***@host/x"
    assert without_credentials("rtsp://a:b@host/x@y") == "rtsp://***@y"  # rather too much than too little
    assert without_credentials("http://host/video?user=a&pwd=b") == "http://host/video?***"
    assert without_credentials('gst:x location="http://a:b c@h/" ! y') == 'gst:x location="http://***@h/" ! y'
    assert without_credentials("file:/tmp/a?.jpg") == "file:/tmp/a?.jpg"
    assert without_credentials("file:/tmp/a@b.jpg") == "file:/tmp/a@b.jpg"
