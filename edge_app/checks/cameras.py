"""Each camera: there, open to the service, a capture device, free; and at last a frame of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edge_app.camera.devices import Device, list_devices
from edge_app.checks import Check
from edge_app.checks.account import Account, group_of, own_account
from edge_app.checks.children import first_event
from edge_app.child import Child
from edge_app.frames import FrameBuffer
from edge_app.settings import CameraConfig, without_credentials

CAMERA_MODULE = "edge_app.camera.worker"
CAMERA_TIMEOUT_S = 20.0  # a network camera negotiates for seconds


def check_cameras(configs: tuple[CameraConfig, ...], account: Account) -> Iterator[Check]:
    """One check a camera."""
    for config in configs:
        yield check_camera(config, account)


def check_camera(config: CameraConfig, account: Account | None = None, root: Path = Path("/")) -> Check:
    """The first fault of a camera; without one it is opened as the service opens it, up to its first frame."""
    name = f"camera {config.name}"
    if (node := _node(config.source)) is not None:
        fault = _node_fault(node, account or own_account(), root)
        if fault is not None:
            return Check(name, "fail", *fault)
        holders = processes_using(node.resolve(), root / "proc")
        if ours := [pid for pid, command in holders.items() if CAMERA_MODULE in command]:
            return Check(name, "ok", f"{config.source}: in use by the running service (process {ours[0]}).")
        if holders:
            pid, command = next(iter(holders.items()))
            return Check(
                name,
                "fail",
                f"{config.source}: process {pid} ({command}) holds it.",
                f"End that program, or disable it if it starts by itself: sudo kill {pid}",
            )
    elif (fault := _file_fault(config.source, account or own_account())) is not None:
        return Check(name, "fail", *fault)
    return _open(config, name)


def _file_fault(source: str, account: Account) -> tuple[str, str] | None:
    """What keeps the file or folder of a `file:` source from being read, and the mend; None if nothing is seen."""
    if (path := file_of(source)) is None:
        return None
    if not os.path.exists(path):  # noqa: PTH110  # Path.exists() raises below a closed folder
        return (
            f"There is no file or folder {path}.",
            "Put a video, a picture or a folder of pictures there, or correct source.",
        )
    if not account.may(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
        who = f"the service's user {account.name}" if account.name else "this user"
        return (
            f"{path} may not be read by {who}.",
            "Move it to /var/lib/edge-app, and let the service read it (sudo chmod -R a+rX).",
        )
    return None


def file_of(source: str) -> Path | None:
    """The file or folder that a source names; None for a source of another kind, and for one in somebody's home (~)."""
    name = source.removeprefix("file:")
    return None if name in {source, ""} or name.startswith("~") else Path(name)


def _node(source: str) -> Path | None:
    """The device that a source names; None for a source of another kind."""
    device = source.removeprefix("v4l2:")
    return Path(device) if device.startswith("/") else None


def _node_fault(node: Path, account: Account, root: Path) -> tuple[str, str] | None:
    """What keeps `node` from being opened as a camera, and the mend; None if nothing is seen."""
    devices = list_devices(root / "dev")
    if not node.exists():
        return f"{node} is not there.", f"Plug the camera in, or name another one: {_offer(devices)}"
    if not account.may(node, os.R_OK | os.W_OK):
        who = f"the service's user {account.name}" if account.name else "this user"
        return f"{node} may not be used by {who} (group {group_of(node)}).", account.join(group_of(node))
    found = {Path(device.path).resolve(): device for device in devices}
    if (device := found.get(node.resolve())) is None:
        return (
            f"{node} gives no pictures: it is a metadata or output node, of which most USB cameras have one.",
            f"Name the capture node: {_offer(devices)}",
        )
    if device.problem:
        mend = "Look in `dmesg` for the camera's driver; unplug it and plug it in again."
        return f"{node} {device.problem}.", f"Name a usable node: {_offer(devices)}" if device.driver else mend
    return None


def _offer(devices: list[Device]) -> str:
    """The sources that could be configured instead."""
    names = [f'source = "{device.source}"' for device in devices if not device.problem]
    return " or ".join(names) or "this machine has no capture device now (`edge-app cameras`)."


def processes_using(path: Path, proc: Path = Path("/proc")) -> dict[int, str]:
    """The other processes that have `path` open, as far as this user may see: process id -> command line."""
    found = {}
    for folder in proc.glob("[0-9]*"):
        try:
            is_other = int(folder.name) != os.getpid()
            is_user = is_other and any(link.readlink() == path for link in (folder / "fd").iterdir())
            if is_user:
                words = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
                found[int(folder.name)] = words.replace("\0", " ").strip()
        except OSError:
            continue  # it has ended, or belongs to another user
    return found


def _open(config: CameraConfig, name: str) -> Check:
    """Open a camera in a process that can be killed, and wait for its first frame."""
    source = without_credentials(config.source)
    buffer = FrameBuffer.create(config.name)
    hello = {"camera": config.model_dump(mode="json"), "frames_fd": buffer.fd, "log_level": "ERROR"}
    child = Child(config.name, CAMERA_MODULE, hello=hello, pass_fds=(buffer.fd,))
    child.start()
    try:
        event = first_event(child, {"opened", "failed"}, CAMERA_TIMEOUT_S)  # "opened" comes with the first frame
        end = child.exit_reason
    finally:
        child.stop(1.0)
        buffer.close()
    if event is None:
        what = f"its process {end}" if end else f"it did not open within {CAMERA_TIMEOUT_S:g} s"
        return Check(name, "fail", f"{source}: {what}.", "Check cable and address.")
    if event["event"] == "failed":
        return Check(name, "fail", event["reason"], "See `edge-app cameras`; check cable, address and password.")
    return Check(name, "ok", event["detail"])
