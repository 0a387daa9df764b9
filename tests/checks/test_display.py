"""The screen of the overlay: with its package, its libraries, a node that may be opened, and something plugged in."""

from __future__ import annotations

import socket
import sys
from importlib import metadata
from pathlib import Path

import pytest

from edge_app.checks import Check, display
from edge_app.checks.account import Account, own_account
from edge_app.checks.display import check_display
from edge_app.settings import DisplayConfig

OURS = own_account()
KMS = DisplayConfig(backend="kms")
SERVICE = Account("edge-app", 64_000, 64_000, frozenset({64_000}))


@pytest.fixture
def board(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a board on which all is well."""
    monkeypatch.setattr(metadata, "version", lambda _package: "2.5.2")
    monkeypatch.setattr(display, "LIBRARIES", {"libc.so.6": "libc6"})
    plug = open_folder / "sys/class/drm/card0-HDMI-A-1"
    plug.mkdir(parents=True)
    (plug / "status").write_text("connected\n", encoding="ascii")
    node = open_folder / "dev/dri/card0"
    node.parent.mkdir(parents=True)
    node.touch()
    return open_folder


def test_screen_that_is_plugged_in_is_named(board: Path) -> None:
    """Nothing is opened: the service may hold the screen."""
    assert check_display(KMS, OURS, board) == Check("display", "ok", "a screen at card0-HDMI-A-1")


@pytest.mark.parametrize(
    ("prefix", "mend"),
    [
        ("/home/me/venv", "Run: pip install 'edge-app[display]'"),
        ("/opt/edge-app/versions/1-2", "systemd/make-wheelhouse.sh"),
    ],
)
def test_missing_package_is_told_with_a_way_that_there_is(
    board: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, mend: str
) -> None:
    """The Python of an installed board has no pip: what it lacks comes with the kit."""

    def nowhere(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", nowhere)
    monkeypatch.setattr(sys, "prefix", prefix)
    check = check_display(KMS, OURS, board)
    assert check.status == "fail"
    assert "pygame-ce" in check.what
    assert mend in check.mend
    assert ("pip" in check.mend) == ("pip" in mend)


def test_missing_library_is_told_with_its_package(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SDL loads them when it opens the screen, and would say no more than that it cannot."""
    monkeypatch.setattr(display, "LIBRARIES", {"libc.so.6": "libc6", "libnothing.so.1": "libnothing1"})
    check = check_display(KMS, OURS, board)
    assert check.status == "fail"
    assert check.what.startswith("libnothing.so.1, ")
    assert "apt install libnothing1" in check.mend
    assert "libc6" not in check.mend


def test_without_a_graphics_driver_there_is_no_screen(board: Path) -> None:
    """The node comes with the driver."""
    (board / "dev/dri/card0").unlink()
    check = check_display(KMS, OURS, board)
    assert check.status == "fail"
    assert "no graphics driver" in check.what


def test_node_that_the_service_may_not_open_fails(board: Path) -> None:
    """Root, who asks, could open it."""
    (board / "dev/dri/card0").chmod(0o660)
    check = check_display(KMS, SERVICE, board)
    assert check.status == "fail"
    assert "edge-app may not open" in check.what
    assert "usermod -aG" in check.mend


@pytest.mark.parametrize("has_plug", [True, False])
def test_screen_that_is_not_plugged_in_warns(board: Path, has_plug: bool) -> None:
    """The display's process waits for one: nothing is wrong with the installation."""
    status = board / "sys/class/drm/card0-HDMI-A-1/status"
    if has_plug:
        status.write_text("disconnected\n", encoding="ascii")
    else:
        status.unlink()
    check = check_display(KMS, OURS, board)
    assert check.status == "warn"
    assert ("card0-HDMI-A-1" if has_plug else "no plug") in check.what
    assert "Plug one in" in check.mend


@pytest.mark.parametrize(
    ("desktop", "account", "status"),
    [(":0", OURS, "ok"), (":1", OURS, "fail"), ("", OURS, "warn"), (":0", SERVICE, "warn")],
)
def test_window_needs_a_desktop(
    desktop: str, account: Account, status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that takes connections; and that of whoever asks is not the service's."""
    monkeypatch.setenv("DISPLAY", desktop)
    monkeypatch.setattr("edge_app.screen.desktop.SOCKETS", f"{tmp_path}/X{{}}")
    with socket.socket(socket.AF_UNIX) as x_server:
        x_server.bind(f"{tmp_path}/X0")
        x_server.listen()
        check = check_display(DisplayConfig(backend="window"), account)
    assert check.status == status
    assert ('display.backend = "kms"' in check.mend) == (status == "warn")


def test_a_file_needs_its_folder(tmp_path: Path) -> None:
    """Nobody makes it: where a disk is not mounted, pictures would fill another one. No display needs nothing."""
    config = DisplayConfig(backend="file", path=tmp_path / "later/a.png")
    check = check_display(config, OURS)
    assert (check.status, f"no folder {tmp_path / 'later'}" in check.what) == ("fail", True)
    (tmp_path / "later").mkdir()
    assert check_display(config, OURS).status == "ok"
    assert check_display(config, SERVICE).status == "fail", "which may not write there"
    assert check_display(DisplayConfig(), OURS).status == "ok"
