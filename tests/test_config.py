"""Configuration: precedence, every error at once, docs that cannot drift."""

from __future__ import annotations

import re
import socket
import tomllib
from pathlib import Path

import pytest

from edge_app.config import load_config
from tests import settings_table
from tests.config_text import MINIMAL, RULE, load, problems

ROOT = Path(__file__).parents[1]


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


def test_a_part_of_a_picture_that_lacks_edges_is_one_problem(tmp_path: Path) -> None:
    """Not one for each edge."""
    assert len(problems(tmp_path, MINIMAL + "crop = [0]\n")) == 1


def test_a_pipeline_may_hold_an_address_and_white_space(tmp_path: Path) -> None:
    """That of a network camera, say."""
    source = "gst:rtspsrc location=rtsp://10.0.0.20/1 ! decodebin"
    assert load(tmp_path, MINIMAL.replace("scene:", source)).camera[0].source == source


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
