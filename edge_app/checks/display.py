"""The overlay's screen: what the backend of the configuration needs of this machine."""

from __future__ import annotations

import ctypes
import os
from importlib import metadata
from pathlib import Path

from edge_app.checks import Check
from edge_app.checks.account import Account, group_of
from edge_app.checks.machine import install
from edge_app.screen.desktop import check_desktop
from edge_app.screen.kms import connectors
from edge_app.settings import DisplayConfig

NAME = "display"
PACKAGE = "pygame-ce"  # pygame itself has the same modules, but an SDL that does not know KMSDRM
LIBRARIES = {"libgbm.so.1": "libgbm1", "libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}  # SDL's, and Debian's


def check_display(config: DisplayConfig, account: Account, root: Path = Path("/")) -> Check:
    """The first thing that the backend lacks. A screen that may yet be plugged in is a warning."""
    match config.backend:
        case "kms":
            return _check_kms(account, root)
        case "window":
            return _check_window(account)
        case "file":
            assert config.path is not None  # the settings see to that
            return _check_file(config.path, account)
        case "none":
            return Check(NAME, "ok", 'display.backend is "none": nothing is shown')


def _check_kms(account: Account, root: Path) -> Check:
    """From the package to the plug."""
    try:
        metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        what = f'display.backend is "kms", and the package {PACKAGE}, which draws on the screen, is not installed.'
        return Check(NAME, "fail", what, install("edge-app[display]"))
    if missing := [library for library in LIBRARIES if not _loads(library)]:
        what = f"{', '.join(missing)}, through which {PACKAGE} draws on a screen, cannot be loaded."
        packages = " ".join(LIBRARIES[library] for library in missing)
        return Check(NAME, "fail", what, f"Run: sudo apt install {packages} libgl1-mesa-dri")
    nodes = sorted((root / "dev/dri").glob("card*"))
    if not nodes:
        what = "There is no /dev/dri/card0: no graphics driver is loaded that could show anything."
        mend = "Look for i915 or xe in `dmesg`, and for `nomodeset` on the kernel's command line."
        return Check(NAME, "fail", what, mend)
    if closed := [node for node in nodes if not account.may(node, os.R_OK | os.W_OK)]:
        what = f"The user {account.eyes} may not open {closed[0]} (group {group_of(closed[0])})."
        return Check(NAME, "fail", what, account.join(group_of(closed[0])))
    plugs = connectors(root / "sys/class/drm")
    plugged = sorted(plug for plug, state in plugs.items() if state == "connected")
    if not plugged:
        what = f"No screen is plugged in: {', '.join(sorted(plugs)) or 'the graphics driver knows no plug'}."
        return Check(NAME, "warn", what, "Plug one in, and turn it on; edge-app opens it within two seconds.")
    return Check(NAME, "ok", f"a screen at {', '.join(plugged)}")


def _check_window(account: Account) -> Check:
    """The unit of systemd has no desktop; whoever asks may have one."""
    desktop = os.environ.get("DISPLAY") if account.is_own else None
    if desktop:
        try:
            check_desktop(desktop)
        except OSError as error:
            return Check(NAME, "fail", str(error))
        return Check(NAME, "ok", f"a window on the desktop {desktop}")
    what = f'display.backend is "window", and the user {account.eyes} has no desktop: DISPLAY is not set.'
    return Check(NAME, "warn", what, 'Start edge-app on a desktop; on a bare screen set display.backend = "kms".')


def _check_file(path: Path, account: Account) -> Check:
    """Its folder is not made by anybody: it would be on the wrong disk where one is not mounted."""
    folder = path.parent
    if not folder.is_dir():
        return Check(NAME, "fail", f"There is no folder {folder} for {path}.", "Make it, or correct display.path.")
    if not account.may(folder, os.W_OK | os.X_OK):
        what = f"The user {account.eyes} may not write {folder}."
        return Check(NAME, "fail", what, f"Run: sudo install -d -o {account.name or '$USER'} {folder}")
    return Check(NAME, "ok", f"into the file {path}")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
