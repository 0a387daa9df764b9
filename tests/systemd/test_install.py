"""The install script on the root folder of an image: a second run changes nothing, a file of the operator's never."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.systemd.conftest import ROOT, Install, needs_root

pytestmark = needs_root


def tree(folder: Path) -> dict[str, tuple[int, int, int, str | bytes]]:
    """Path -> mode, owner, group and content (or target) of everything in `folder`."""
    found: dict[str, tuple[int, int, int, str | bytes]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content: str | bytes = b""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def group_id(image: Path, name: str) -> int:
    lines = (line.split(":") for line in (image / "etc" / "group").read_text(encoding="utf-8").splitlines())
    return next(int(fields[2]) for fields in lines if fields[0] == name)


def installed(install: Install, image: Path, *options: str) -> Path:
    done = install(image, *options)
    assert done.returncode == 0, done.stderr
    return image


def test_what_is_installed_belongs_to_whom_it_should(install: Install, image: Path) -> None:
    """The configuration is for root and the service alone, the secrets for root, the state for the service."""
    installed(install, image)
    service = group_id(image, "edge-app")
    wanted = {
        "etc/edge-app": (0o750, 0, service),
        "etc/edge-app/config.toml": (0o640, 0, service),
        "etc/edge-app/credentials": (0o700, 0, 0),
        "var/lib/edge-app": (0o750, service, service),
        "var/lib/edge-app/bundles": (0o750, service, service),
    }
    found = {name: (image / name).stat() for name in wanted}
    assert {name: (status.st_mode & 0o777, status.st_uid, status.st_gid) for name, status in found.items()} == wanted
    members = (image / "etc" / "group").read_text(encoding="utf-8")
    assert all(f"{group}:x:{group_id(image, group)}:edge-app" in members for group in ("video", "render"))
    assert (image / "etc/systemd/system/multi-user.target.wants/edge-app.service").is_symlink()
    assert not (image / "usr/local/lib/systemd/system/edge-app-display.service").exists()


def test_installed_program_starts(install: Install, image: Path) -> None:
    """By the link in /usr/local/bin, and with nothing from the folder it is called in."""
    installed(install, image)
    assert str((image / "usr/local/bin/edge-app").readlink()) == "/opt/edge-app/current/bin/edge-app"
    elsewhere = image / "elsewhere"
    (elsewhere / "edge_app").mkdir(parents=True)
    (elsewhere / "edge_app" / "__init__.py").write_text("raise SystemExit('not ours')")
    program = image / "opt/edge-app/current/bin/edge-app"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, cwd=elsewhere)
    assert done.stdout.startswith("edge-app "), done.stderr


def test_second_run_changes_nothing(install: Install, image: Path) -> None:
    """The script may be run again at any time; what an interrupted run left is cleared away."""
    installed(install, image, "--allow", "10.0.0.5")
    before = tree(image)
    (image / "opt/edge-app/versions/0.0.1-interrupted.part/bin").mkdir(parents=True)
    installed(install, image, "--allow", "10.0.0.5")
    assert tree(image) == before


def test_operators_files_are_never_overwritten(install: Install, image: Path) -> None:
    """Configuration, the bridge's environment and the module's options stay as the operator wrote them."""
    installed(install, image, "--mipi", "--display")
    files = [
        image / "etc/edge-app/config.toml",
        image / "etc/edge-app/mipi-bridge.env",
        image / "etc/modprobe.d/edge-app-mipi.conf",
    ]
    for file in files:
        file.write_text("mine\n", encoding="utf-8")
    installed(install, image, "--mipi", "--display")
    assert [file.read_text(encoding="utf-8") for file in files] == ["mine\n"] * 3
    wants = image / "etc/systemd/system/multi-user.target.wants"
    assert {path.name for path in wants.iterdir()} == {
        "edge-app.service",
        "edge-app-display.service",
        "mipi-bridge.service",
    }


def test_allowed_addresses_are_written_for_systemd(install: Install, image: Path) -> None:
    """Each address is one line of a drop-in; a name is refused before anything is changed."""
    installed(install, image, "--broker", "10.0.0.5", "--allow", "2001:db8::/32")
    text = (image / "etc/systemd/system/edge-app.service.d/10-network.conf").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("IP")] == [
        "IPAddressAllow=10.0.0.5",
        "IPAddressAllow=2001:db8::/32",
    ]
    # Later calls add to it, and leave what the operator wrote, even without an end to the last line.
    drop_in = image / "etc/systemd/system/edge-app.service.d/10-network.conf"
    drop_in.write_text(f"{text}IPAddressAllow=link-local", encoding="utf-8")
    done = install(image, "--allow", "10.0.0.9", "--allow", "10.0.0.5")
    assert drop_in.read_text(encoding="utf-8") == f"{text}IPAddressAllow=link-local\nIPAddressAllow=10.0.0.9\n"
    assert "may talk to: 10.0.0.5 2001:db8::/32 link-local 10.0.0.9" in done.stderr
    other = image.with_name("other")
    (other / "etc").mkdir(parents=True)
    done = install(other, "--broker", "broker.local")
    assert done.returncode == 1
    assert "broker.local is no address" in done.stderr
    assert not (other / "opt").exists()


def changed(kit: Path, folder: Path, main: str | None = None) -> Path:
    """A copy of `kit` as another version's would be; with `main` its command line is that instead."""
    shutil.copytree(kit, folder)
    wheel = next((folder / "wheels").glob("edge_app-*.whl"))
    original = wheel.rename(folder / "original")
    with zipfile.ZipFile(original) as old, zipfile.ZipFile(wheel, "w") as new:
        new.comment = old.comment + b"one more"
        for name in old.namelist():
            new.writestr(name, main if main and name == "edge_app/__main__.py" else old.read(name))
    original.unlink()
    for unit in (folder / "systemd").glob("*.service"):
        unit.write_text(f"{unit.read_text(encoding='utf-8')}# {folder.name}\n", encoding="utf-8")
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    return folder


def test_update_is_one_switch_and_can_be_rolled_back(install: Install, kit: Path, image: Path, tmp_path: Path) -> None:
    """The new version is in force, the old one is kept, those before are gone; back and forth again."""
    installed(install, image)
    opt = image / "opt" / "edge-app"
    first = str((opt / "current").readlink())
    second_kit = changed(kit, tmp_path / "second")
    assert install(image, kit=second_kit).returncode == 0
    second = str((opt / "current").readlink())
    assert second != first
    assert str((opt / "previous").readlink()) == first
    assert installed(install, image, "--rollback") and str((opt / "current").readlink()) == first
    assert installed(install, image, "--rollback") and str((opt / "current").readlink()) == second
    assert install(image, kit=changed(second_kit, tmp_path / "third")).returncode == 0
    assert str((opt / "previous").readlink()) == second
    assert not (opt / first).exists()


def test_version_that_does_not_start_is_not_switched_to(
    install: Install, kit: Path, image: Path, tmp_path: Path
) -> None:
    """An update that fails leaves the version in force as it was."""
    installed(install, image)
    before = str((image / "opt/edge-app/current").readlink())
    broken = changed(kit, tmp_path / "broken", main="raise SystemExit(1)")
    done = install(image, kit=broken)
    assert done.returncode == 1
    assert "does not start" in done.stderr
    assert str((image / "opt/edge-app/current").readlink()) == before


def test_units_are_those_of_the_version_in_force(install: Install, kit: Path, image: Path, tmp_path: Path) -> None:
    """An update renews also the units that it was not asked for, a roll back brings the old ones; none is added."""

    def units() -> dict[str, str]:
        folder = image / "usr/local/lib/systemd/system"
        return {path.name: path.read_text(encoding="utf-8").splitlines()[-1] for path in folder.iterdir()}

    installed(install, image, "--display")
    first = units()
    assert first.keys() == {"edge-app.service", "edge-app-display.service"}
    enabled = image / "etc/systemd/system/multi-user.target.wants"
    (enabled / "edge-app-display.service").unlink()  # the operator's decision stands
    assert install(image, kit=changed(kit, tmp_path / "second")).returncode == 0
    assert units() == dict.fromkeys(first, "# second")
    done = install(image, "--rollback", kit=image / "opt/edge-app/current/kit")  # the board's own copy of the script
    assert done.returncode == 0, done.stderr
    assert units() == first
    assert [path.name for path in enabled.iterdir()] == ["edge-app.service"]


def test_version_of_an_older_script_is_rolled_back_to(install: Install, kit: Path, image: Path, tmp_path: Path) -> None:
    """It brought no units of its own, and the documents lay in a folder: neither is in the way."""
    installed(install, image)
    shutil.rmtree(image / "opt/edge-app/current/kit")
    documents = image / "usr/local/share/doc/edge-app"
    documents.unlink()
    documents.mkdir()
    assert install(image, kit=changed(kit, tmp_path / "second")).returncode == 0
    assert documents.is_symlink()
    installed(install, image, "--rollback")
    assert (image / "usr/local/lib/systemd/system/edge-app.service").read_text(encoding="utf-8").endswith("# second\n")


def test_documents_are_on_the_board(install: Install, image: Path) -> None:
    """Every page that the program, its configuration or another page names, for a board without the internet."""
    installed(install, image)
    link = image / "usr/local/share/doc/edge-app"
    assert str(link.readlink()) == "/opt/edge-app/current/kit/docs"
    documents = image / str(link.readlink()).lstrip("/")
    sources = [ROOT / "config.toml", *(ROOT / "edge_app").rglob("*.py"), *(ROOT / "systemd").iterdir()]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    named = set(re.findall(r"docs/([a-z/-]+\.md)", text))
    assert {"board.md", "bundle.md", "configuration.md"} <= named
    for page in documents.rglob("*.md"):
        linked = re.findall(r"\]\(([a-z/-]+(?:\.md|\.conf|\.cnf|/acl)?)\)", page.read_text(encoding="utf-8"))
        named |= {str((page.parent / name).relative_to(documents)) for name in linked}
    assert "mosquitto/acl" in named
    assert [name for name in sorted(named) if not (documents / name).exists()] == []
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in documents.rglob("*"))


def test_kit_has_what_the_extras_need(install: Install, image: Path) -> None:
    """A board installed as documented has metrics and a screen: nothing can be added to it by pip later."""
    done = install(image, libraries=True)
    assert done.returncode == 0, done.stderr
    python = image / "opt/edge-app/current/bin/python"
    subprocess.run([python, "-c", "import prometheus_client, pygame"], check=True)


def test_damaged_copy_is_refused(install: Install, kit: Path, image: Path, tmp_path: Path) -> None:
    """The sums of make-wheelhouse.sh are checked before anything is installed."""
    damaged = tmp_path / "damaged"
    shutil.copytree(kit, damaged)
    assert install(image, kit=damaged).returncode == 0
    with (damaged / "config-sample.toml").open("a", encoding="utf-8") as file:
        file.write("#")
    done = install(image, kit=damaged)
    assert done.returncode == 1
    assert "copy the folder again" in done.stderr


def test_image_with_another_python_is_refused(install: Install, image: Path) -> None:
    """Libraries compiled for 3.11 do not load in 3.12: say so before the image is on the board."""
    (image / "usr" / "bin").mkdir(parents=True)
    (image / "usr" / "bin" / "python3.99").touch()
    done = install(image)
    assert done.returncode == 1
    assert "python3.99" in done.stderr


def test_image_without_the_interpreter_is_refused(install: Install, image: Path) -> None:
    """The program is started by a link to the Python of --python, which has to be in the image itself."""
    python = image / Path(sys.executable).resolve().relative_to("/")
    python.rename(python.with_name("python-moved"))
    done = install(image)
    assert done.returncode == 1
    assert "the image has no /" in done.stderr
    assert not list((image / "opt/edge-app").rglob("bin"))
    python.symlink_to(
        f"{Path(sys.executable).resolve().parent}/python-moved"
    )  # a link of the image, not of this machine
    installed(install, image)


def test_purge_alone_is_refused(install: Install, image: Path) -> None:
    """It says what --uninstall removes; alone it would install."""
    done = install(image, "--purge")
    assert done.returncode == 1
    assert "--uninstall" in done.stderr
    assert not (image / "opt").exists()


@pytest.mark.parametrize("purge", [False, True])
def test_uninstall_leaves_what_is_the_operators_unless_purged(install: Install, image: Path, purge: bool) -> None:
    """Program, units and links go; configuration, state and drop-ins only with --purge."""
    installed(install, image, "--display", "--mipi", "--allow", "10.0.0.5")
    (image / "var/lib/edge-app/bundles/mine").touch()
    installed(install, image, "--uninstall", *(["--purge"] if purge else []))
    names = {name for name in tree(image) if "edge-app" in name or "mipi" in name}
    kept = {
        "etc/edge-app",
        "etc/edge-app/config.toml",
        "etc/edge-app/credentials",
        "etc/edge-app/mipi-bridge.env",
        "etc/modprobe.d/edge-app-mipi.conf",
        "etc/systemd/system/edge-app.service.d",
        "etc/systemd/system/edge-app.service.d/10-network.conf",
        "var/lib/edge-app",
        "var/lib/edge-app/bundles",
        "var/lib/edge-app/bundles/mine",
    }
    assert names == (set() if purge else kept)
    installed(install, image, "--uninstall")
