"""Whose rights a check is about: those of the service, whoever asks."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

SERVICE_USER = "edge-app"  # systemd/edge-app.sysusers


@dataclass(frozen=True)
class Account:
    """A user and all its groups."""

    name: str
    uid: int
    groups: frozenset[int]

    @property
    def is_own(self) -> bool:
        """Whether this is the user that this process runs as."""
        return self.uid == os.geteuid()

    def may(self, path: Path, mode: int) -> bool:
        """Whether the account may use `path` as `mode` says (os.R_OK, os.W_OK, os.X_OK, together with |)."""
        if self.is_own:
            return os.access(path, mode)
        status = path.stat()
        if self.uid == status.st_uid:
            allowed = status.st_mode >> 6
        elif status.st_gid in self.groups:
            allowed = status.st_mode >> 3
        else:
            allowed = status.st_mode
        return allowed & mode == mode

    def join(self, group: str) -> str:
        """The command that makes the account a member of `group`."""
        if self.name == SERVICE_USER:
            return f"Run: sudo usermod -aG {group} {self.name}, then: sudo systemctl restart edge-app"
        return f"Run: sudo usermod -aG {group} $USER, then log in again."


def own_account() -> Account:
    """The user that this process runs as."""
    return Account("", os.geteuid(), frozenset({os.getegid(), *os.getgroups()}))


def account_of_service() -> Account:
    """The service's user where root asks and there is one: root itself may do everything, and would find no fault."""
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            return own_account()
        return Account(user.pw_name, user.pw_uid, frozenset(os.getgrouplist(user.pw_name, user.pw_gid)))
    return own_account()


def group_of(path: Path) -> str:
    """The name of the group that a file belongs to, or its number where it has none, as in a container."""
    try:
        return path.group()
    except KeyError:
        return str(path.stat().st_gid)
