"""`edge-app bundle`, as an operator runs it, with the real model's process as the trial."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_app.__main__ import main
from edge_app.bundles.probation import read_record
from edge_app.bundles.store import Slot
from edge_app.bundles.trial import rights_of_owner
from edge_app.minisign import parse_public_key
from tests.signing import NAME, Signer, needs_minisign, wrong_golden
from tests.toml import toml

pytestmark = needs_minisign


class Operator:
    """A configuration that trusts one key, and what the command says to it."""

    def __init__(self, folder: Path, signer: Signer, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.slot = Slot(folder / "state/bundles" / NAME)
        model = {
            "bundles": [str(self.slot.folder / "current")],
            "state_dir": str(folder / "state"),
            "cache_dir": str(folder / "cache"),
            "trusted_keys": [signer.public],
            "device": "CPU",
        }
        self.config = folder / "config.toml"
        camera = {"name": "door", "source": "scene:"}
        self.config.write_text(toml([("[model]", model), ("[[camera]]", camera)]), encoding="utf-8")

    def does(self, *words: object) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        code = main(["bundle", *map(str, words), "--config", str(self.config)])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def told(self, *words: object) -> Any:
        """What it prints with --json."""
        code, out, err = self.does(*words, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)


@pytest.fixture
def operator(tmp_path: Path, signer: Signer, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path, signer, capsys)


def test_install_list_and_roll_back(
    operator: Operator, signer: Signer, releases: Callable[[int], Path], released: Callable[..., Path]
) -> None:
    """Two releases, a third that fails its golden sample and is not taken, and back to the first."""
    key = parse_public_key(signer.public).name
    code, out, err = operator.does("install", releases(1))
    assert code == 0
    steps = [line for line in err.splitlines() if not line.startswith("  ")]
    assert steps == ["checking ...", "copying ...", "trying ...", "switching ..."]
    compiled = [line for line in err.splitlines() if line.startswith("  compiling the ")]
    assert len(compiled) == 5 and all(line.endswith(" for CPU ...") for line in compiled)
    assert "Tried on CPU: ready after " in out and f"compiled graphs are kept in {operator.folder / 'cache'}." in out
    assert f"{NAME} version 1, " in out and f"signed by {key}" in out
    assert "model.bundles" not in out  # the configuration names it already
    first = operator.told("list")["bundles"][0]["current"]

    installed = operator.told("install", releases(2))
    assert (installed["version"], installed["signed_by"], installed["replaced"]) == (2, key, first)
    trial = installed["trial"]
    assert (trial["device"], trial["fallbacks"], trial["placement"], trial["problem"]) == ("CPU", [], None, None)
    assert 0 < trial["load_s"] < trial["total_s"]
    assert operator.told("install", releases(2))["trial"] is None  # it is in use already
    assert len(list((operator.folder / "cache" / installed["hash"][:16]).glob("*.blob"))) == 5

    code, _, err = operator.does("install", released(3, wrong_golden))
    assert code == 1 and "failed when it was tried" in err and "does not compute the golden sample" in err

    (listed,) = operator.told("list")["bundles"]
    assert {version["version"] for version in listed["versions"]} == {1, 2}
    assert (listed["current"], listed["previous"], listed["rolled_back"]) == (operator.slot.current, first, None)

    code, out, _ = operator.does("rollback")
    assert code == 0 and f"{first} is in use again" in out
    assert read_record(operator.slot).proven == operator.slot.current == first
    lines = operator.does("list")[1].splitlines()
    assert lines[0] == NAME and any(line.startswith("  current ") and "version 1," in line for line in lines)


def test_what_is_refused_is_one_sentence(operator: Operator, released: Callable[..., Path], tmp_path: Path) -> None:
    """No traceback, exit code 1, and nothing is installed."""
    bad = released(1)
    (bad / "extra").write_bytes(b"")
    for words in (("install", bad), ("verify", bad), ("install", tmp_path / "nowhere"), ("rollback",)):
        code, out, err = operator.does(*words)
        assert code == 1 and out == "" and err.splitlines()[-1].startswith("edge-app: ")
    assert operator.does("list")[1].startswith("No bundle is installed in ")


def test_verify_takes_a_key_without_a_configuration(
    signer: Signer, releases: Callable[[int], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """As on the workstation that has just signed; a key that is none is told."""
    assert main(["bundle", "verify", str(releases(1)), "--key", signer.public]) == 0
    assert "All 11 files are what the manifest says." in capsys.readouterr().out
    assert main(["bundle", "verify", str(releases(1)), "--key", "release.pub"]) == 1
    assert "--key: 'release.pub' is no public key of minisign" in capsys.readouterr().err


def test_a_configuration_names_keys_of_minisign_two_at_most(operator: Operator, signer: Signer) -> None:
    """What is no key is refused when the configuration is read, with its name."""
    text = operator.config.read_text(encoding="utf-8")
    operator.config.write_text(text.replace(signer.public, "release.pub"), encoding="utf-8")
    code, _, err = operator.does("list")
    assert code == 78 and "model.trusted_keys: 'release.pub' is no public key of minisign" in err
    three = json.dumps([signer.public] * 3)
    operator.config.write_text(text.replace(json.dumps([signer.public]), three), encoding="utf-8")
    code, _, err = operator.does("list")
    assert code == 78 and "model.trusted_keys" in err


def test_several_bundles_are_taken_back_by_name(operator: Operator) -> None:
    """It is not guessed which one is meant."""
    for name in ("door", "yard"):
        (operator.slot.folder.parent / name / f"{name}-0123456789abcdef").mkdir(parents=True)
    (operator.slot.folder.parent / "by-hand").mkdir()
    code, _, err = operator.does("rollback")
    assert code == 1 and err.rstrip().endswith("door, yard.")
    code, _, err = operator.does("rollback", "yard")
    assert code == 1 and "no previous version of yard" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_tries_with_the_rights_of_the_services_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root gives up all others, groups included; a user without a name has one group; who is not root has no choice."""
    os.chown(tmp_path, 12345, 12346)
    assert rights_of_owner(tmp_path) == {"user": 12345, "group": 12346, "extra_groups": []}
    nobody = pwd.getpwnam("nobody")
    os.chown(tmp_path, nobody.pw_uid, nobody.pw_gid)
    assert rights_of_owner(tmp_path)["extra_groups"] == os.getgrouplist("nobody", nobody.pw_gid)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert rights_of_owner(tmp_path) == {}


def test_a_process_that_cannot_be_started_refuses_the_bundle(
    operator: Operator, released: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the service's user may not run this Python; what was copied goes again."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    code, _, err = operator.does("install", released(1))
    assert code == 1 and "could not be started" in err
    assert operator.slot.versions() == []
