"""The folders that the service writes to: there, writable, with room."""

from __future__ import annotations

import os
from pathlib import Path

from edge_app.checks import Check, Status
from edge_app.checks.account import Account

FEW_DISK_MIB, TOO_FEW_DISK_MIB = 1024, 100  # a compiled BLIP-base takes 400 MiB of cache

_MEANWHILE = "messages that would wait there wait in memory, and are lost at a restart"


def check_owner(folder: Path, account: Account) -> Check:
    """Files in a folder of the service's that another user owns, such as root after `sudo edge-app run`."""
    name = f"owner {folder}"
    strangers = sorted(path.name for path in folder.glob("*") if path.is_file() and path.stat().st_uid != account.uid)
    if not strangers:
        return Check(name, "ok", "every file is the service's")
    return Check(
        name,
        "fail",
        f"{', '.join(strangers[:3])} in {folder} belongs to another user than {account.name}, which cannot write it.",
        f"Run: sudo chown -R {account.name}: {folder}; sudo systemctl restart edge-app",
    )


def check_disk(folder: Path, account: Account) -> Check:
    """Room and the right to write in a folder that the service writes to, or that it will make."""
    name = f"disk {folder}"
    # Not Path.exists(), which raises below a closed folder; here that folder is what is told.
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))  # noqa: PTH110
    if not existing.is_dir():
        return Check(
            name,
            "fail",
            f"{existing} is not a folder, so nothing can be stored in {folder}; {_MEANWHILE}.",
            f"Name another folder in the configuration, or move what is there away: sudo mv {existing} {existing}.old",
        )
    disk = os.statvfs(existing)
    if disk.f_flag & os.ST_RDONLY:
        return Check(
            name,
            "fail",
            f"{existing} is on a read-only file system, so nothing can be stored there; {_MEANWHILE}.",
            f"Give {folder} a partition of its own (docs/board.md, read-only root). If the system mounted it so after "
            "an error, `dmesg` says which: run fsck, and replace a card or disk that fails again.",
        )
    if not account.may(existing, os.W_OK | os.X_OK):
        who = f"the service's user {account.name}" if account.name else "this user"
        owner = account.name or "$USER"
        return Check(
            name, "fail", f"{existing} cannot be written by {who}.", f"Run: sudo install -d -o {owner} {folder}"
        )
    # What an ordinary user may still take: a part is kept back for root.
    free_mib = disk.f_bavail * disk.f_frsize // 2**20
    if free_mib < FEW_DISK_MIB:
        status: Status = "fail" if free_mib < TOO_FEW_DISK_MIB else "warn"
        return Check(name, status, f"Only {free_mib} MiB are free.", f"Free {FEW_DISK_MIB} MiB or name another folder.")
    return Check(name, "ok", f"{free_mib} MiB free")
