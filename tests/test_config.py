"""Configuration: precedence, every error at once, refusals that protect a secret, docs that cannot drift."""

from __future__ import annotations

import json
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_app.config import check_files, load_config
from edge_app.errors import ConfigError
from edge_app.inbox import Inbox
from edge_app.mqtt.connection import Connection
from edge_app.settings import Config, without_credentials
from tests import settings_table

ROOT = Path(__file__).parents[1]
MINIMAL = '[model]\nbundles = ["bundle"]\n[[camera]]\nname = "door"\nsource = "scene:"\n'
RULE = '[[rule]]\nid = "cup"\nquestion = "is there a cup?"\n'


def load(
    tmp_path: Path,
    text: str = MINIMAL,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environ or {}, overrides or {})


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, environ)
    return caught.value.problems


@pytest.mark.parametrize(
    ("in_file", "in_environment", "on_command_line", "expected"),
    [
        (False, False, False, "localhost"),
        (True, False, False, "file"),
        (False, True, False, "environment"),
        (True, True, False, "environment"),
        (False, False, True, "command-line"),
        (True, False, True, "command-line"),
        (True, True, True, "command-line"),
    ],
)
def test_the_later_source_wins(
    tmp_path: Path, in_file: bool, in_environment: bool, on_command_line: bool, expected: str
) -> None:
    """Precedence: default < file < environment < command line."""
    text = MINIMAL + ('[mqtt]\nhost = "file"\n' if in_file else "")
    environ = {"EDGE_APP_MQTT__HOST": "environment"} if in_environment else {}
    overrides = {"mqtt.host": "command-line"} if on_command_line else {}
    assert load(tmp_path, text, environ, overrides).mqtt.host == expected


def test_text_from_the_environment_takes_the_type_of_its_field(tmp_path: Path) -> None:
    """Numbers, switches and lists are written as in TOML; text fields take the text as it is, digits too."""
    config = load(
        tmp_path,
        environ={
            "EDGE_APP_NODE__ID": "007",
            "EDGE_APP_MQTT__PORT": "1884",
            "EDGE_APP_MQTT__TLS": "true",
            "EDGE_APP_MQTT__PROTOCOL": "5",
            "EDGE_APP_MODEL__BUNDLES": '["a", "b"]',
            "EDGE_APP_CAPTION__INTERVAL_S": "2.5",
            "EDGE_APP_CONFIG": "no section, not ours",
        },
    )
    assert (config.node.id, config.mqtt.port, config.mqtt.tls) == ("007", 1884, True)
    assert (config.model.bundles, config.caption.interval_s) == ((Path("a"), Path("b")), 2.5)


def test_five_errors_are_all_reported_with_their_dotted_keys(tmp_path: Path) -> None:
    """Whoever mends a config mends it once."""
    text = """
        [mqtt]
        port = 70000
        hots = "broker"
        [ask]
        queue_length = "8"
        [caption]
        interval_s = nan
        [[camera]]
        name = "front door"
        source = "scene:"
        [model]
        bundles = ["a"]
    """
    found = problems(tmp_path, text)
    keys = sorted(problem.split(":")[0] for problem in found)
    assert keys == ["ask.queue_length", "camera.0.name", "caption.interval_s", "mqtt.hots", "mqtt.port"]
    assert any("70000" in problem for problem in found)
    assert any("did you mean host?" in problem for problem in found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "model: This key is required"),
        ("[model]\nbundles = []\n", "model.bundles: "),
        ("[mqtt\n", "not valid TOML"),
        (MINIMAL + '[[camera]]\nname = "door"\nsource = "scene:"\n', "camera: the name 'door' is used twice"),
        (MINIMAL + '[mqtt]\nbase = "a/#"\n', "mqtt.base: "),
        (MINIMAL + '[mqtt]\nallowed_response_prefixes = [""]\n', "mqtt.allowed_response_prefixes: "),
        (MINIMAL + '[mqtt]\npassword_file = "p"\n', "mqtt.password_file: password_file is set without user"),
        (MINIMAL + '[mqtt]\ntls_client_cert = "c"\n', "mqtt.tls_client_cert: tls_client_cert is set but TLS is off"),
        (MINIMAL + "[ask]\ntimeout_s = 61\n", "ask.timeout_s: timeout_s is 61"),
        (MINIMAL + "[ask]\nmax_timeout_s = 5\n", "ask.timeout_s: timeout_s is 10"),
        (MINIMAL + '[mqtt]\ntls_client_key = "k"\n', "mqtt.tls_client_key: tls_client_key is set without"),
        (MINIMAL + '[mqtt]\ntls = true\ntls_client_cert = "c"\n', "mqtt.tls_client_key: tls_client_cert is set with"),
        (MINIMAL + '[mqtt]\nhost = "mqtt://broker"\n', "mqtt.host: 'mqtt://broker' is no host name"),
        (MINIMAL + '[mqtt]\nhost = "10.0.0.5:1883"\n', "mqtt.host: '10.0.0.5:1883' is no host name"),
        (MINIMAL + '[node]\nid = "kit chen"\n', "node.id: It is 'kit chen'; write 1 to 64 letters, digits, _ or -."),
        (MINIMAL + '[mqtt]\nbase = "a/+"\n', "mqtt.base: It is 'a/+'; write one to four levels, separated by /, of"),
        (MINIMAL + '[mqtt]\nhost = ""\n', "mqtt.host: It is ''; write at least one character."),
        (MINIMAL + "[mqtt]\nhost = 7\n", "mqtt.host: It is 7; write a text in quotes."),
        (MINIMAL + '[mqtt]\ntls = "yes"\n', "mqtt.tls: It is 'yes'; write true or false."),
        (MINIMAL + '[mqtt]\nport = "1883"\n', "mqtt.port: It is '1883'; write a whole number, without quotes."),
        (MINIMAL + "[mqtt]\nport = 1.5\n", "mqtt.port: It is 1.5; write a whole number"),
        (MINIMAL + "[mqtt]\ntls_ca_certs = 1\n", "mqtt.tls_ca_certs: It is 1; write a text in quotes."),
        (MINIMAL + '[mqtt]\nallowed_response_prefixes = "a"\n', "allowed_response_prefixes: It is 'a'; write a list,"),
        (MINIMAL + '[log]\nlevel = "loud"\n', "log.level: It is 'loud'; write 'DEBUG', 'INFO', 'WARNING' or 'ERROR'."),
        (MINIMAL + '[caption]\ninterval_s = "5"\n', "caption.interval_s: It is '5'; write a number, without quotes."),
        (MINIMAL + "[caption]\ninterval_s = inf\n", "caption.interval_s: It is inf; write"),
        (MINIMAL + "[store]\nanswer_age_d = 0\n", "store.answer_age_d: It is 0; write a number above 0."),
        (MINIMAL.replace("scene:", "rtsp://c/a b"), "camera.0.source: an address holds no white space and"),
        (MINIMAL.replace('["bundle"]', "[]"), "model.bundles: It is []; give at least 1."),
        ("camera = 1\n" + MINIMAL.partition("[[camera]]")[0], "camera: It is 1; write one [[camera]]"),
        (MINIMAL.replace("[[camera]]", "[camera]"), "write one [[camera]], with two brackets, for each."),
        (MINIMAL.replace("scene:", "foo://a:b@c"), "camera.0.source: the source 'foo://***@c' is of no known kind"),
        (MINIMAL + '[display]\nbackend = "file"\n', "display.path: "),
        (MINIMAL + "crop = [0.5, 0, 0.5, 1]\n", "camera.0.crop: [0.5, 0.0, 0.5, 1.0] is no part of a picture"),
        (MINIMAL + "region = [0, 0, 1, 1.5]\n", "camera.0.region: [0.0, 0.0, 1.0, 1.5] is no part of a picture"),
        (MINIMAL + "crop = [0, 25, 1]\n", "camera.0.crop: It is [0, 25, 1]; write four numbers, [left, top, right,"),
        (MINIMAL + "region = []\n", "camera.0.region: It is []; write four numbers, [left, top, right, bottom]"),
        (MINIMAL.replace("scene:", "scene:sed=3"), "camera.0.source: the source 'scene:sed=3' has unknown options;"),
        (MINIMAL.replace("scene:", "scene:seed=x"), "camera.0.source: the source 'scene:seed=x' has unknown options;"),
        (
            MINIMAL + '[display]\npath = "/tmp/a.gif"\n',
            "display.path: the display writes no file 'a.gif'; let its name",
        ),
        (MINIMAL + '[display]\npath = "/tmp/png"\n', "display.path: the display writes no file 'png'; let its name"),
        (
            MINIMAL + RULE + "threshold_on = 0.1\n",
            "rule.0.threshold_off: threshold_on is 0.1, below threshold_off, which is 0.2 by default; raise",
        ),
        (MINIMAL + RULE + "region = [0, 0, 0, 1]\n", "rule.0.region: [0.0, 0.0, 0.0, 1.0] is no part of a picture;"),
        (MINIMAL + "rotation = 45\n", "camera.0.rotation: It is 45; write 0, 90, 180 or 270."),
        (MINIMAL + 'credentials_file = "c"\n', "camera.0.credentials_file: credentials_file is set but the source is"),
        (
            MINIMAL.replace("scene:", "rtsp://a:b@c/") + 'credentials_file = "c"\n',
            "camera.0.credentials_file: credentials_file is set and the source has a login too",
        ),
        (MINIMAL + "[log]\nlevel = 1979-05-27\n", "log.level: "),
    ],
)
def test_an_illegal_configuration_is_refused_with_its_key(tmp_path: Path, text: str, told: str) -> None:
    """Illegal values and combinations are refused at construction, in a sentence that begins with the key."""
    assert any(told in problem for problem in problems(tmp_path, text))


def test_of_several_cameras_or_rules_the_one_is_named(tmp_path: Path) -> None:
    """Keys count from 0 and people from 1: the number as they count, and the name where there is a lawful one."""
    camera = '[[camera]]\nsource = "scene:"\nrotation = 45\n'
    text = MINIMAL + camera + 'name = "yard"\n' + camera + 'name = "the attic"\n' + RULE + RULE.replace("cup", "hat")
    found = problems(tmp_path, text + "cooldown_s = -1\n")
    wanted = "It is 45; write 0, 90, 180 or 270."
    assert f'camera.1.rotation (camera number 2, "yard"): {wanted}' in found
    assert f"camera.2.rotation (camera number 3): {wanted}" in found
    assert 'rule.1.cooldown_s (rule number 2, "hat"): It is -1; write 0 or more.' in found
    assert problems(tmp_path, MINIMAL + "rotation = 45\n") == (f"camera.0.rotation: {wanted}",)


def test_a_secret_of_the_second_camera_is_told_as_its_own(tmp_path: Path) -> None:
    """What is wrong with a file is told with the same words about where."""
    yard = f'[[camera]]\nname = "yard"\nsource = "rtsp://c/"\ncredentials_file = "{tmp_path}/none"\n'
    config = load(tmp_path, MINIMAL + yard)
    with pytest.raises(
        ConfigError, match=r'^camera\.1\.credentials_file \(camera number 2, "yard"\): .* cannot be read'
    ):
        check_files(config)


def test_a_part_of_a_picture_that_lacks_edges_is_one_problem(tmp_path: Path) -> None:
    """Not one for each edge."""
    assert len(problems(tmp_path, MINIMAL + "crop = [0]\n")) == 1


def test_a_pipeline_may_hold_an_address_and_white_space(tmp_path: Path) -> None:
    """That of a network camera, say."""
    source = "gst:rtspsrc location=rtsp://10.0.0.20/1 ! decodebin"
    assert load(tmp_path, MINIMAL.replace("scene:", source)).camera[0].source == source


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


def test_the_default_node_id_is_a_topic_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host name with dots still makes one level of a topic."""
    monkeypatch.setattr(socket, "gethostname", lambda: "board.example.org")
    assert load(tmp_path).node.id == "board-example-org"


def test_the_example_file_loads_and_names_every_setting() -> None:
    """config.toml of the repository is valid, and shows every key with its default."""
    path = ROOT / "config.toml"
    load_config(path, {})
    shown: set[str] = set()
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"(?:# )?\[{1,2}(\w+)\]{1,2}", line):
            section = header[1]
        elif key := re.match(r"(?:# )?(\w+) = ", line):
            shown.add(f"{section}.{key[1]}")
    assert shown == {row.key for row in settings_table.rows()}


def test_commented_keys_of_the_example_file_are_valid_when_uncommented() -> None:
    """The values behind the comment signs show the default, or a legal example."""
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    uncommented = tomllib.loads(re.sub(r"^# (\w+ = |\[\[)", r"\1", text, flags=re.MULTILINE))
    for row in settings_table.rows():
        section, _, key = row.key.partition(".")
        table = uncommented[section]
        value = table[0][key] if isinstance(table, list) else table[key]
        if row.default_value is not None:
            assert value == row.default_value, row.key


def test_the_settings_table_of_the_docs_is_the_generated_one() -> None:
    """docs/configuration.md cannot drift; `python -m tests.settings_table` writes it."""
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert settings_table.inserted(text) == text
