"""Whose rights a check is about: those of the service, whoever asks."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICE_USER = "edge-app"  # systemd/edge-app.sysusers


@dataclass(frozen=True)
class Account:
    """A user and all its groups."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int]
    """All of them, `gid` included."""

    @property
    def is_own(self) -> bool:
        """Whether this is the user that this process runs as."""
        return self.uid == os.geteuid()

    @property
    def rights(self) -> dict[str, Any]:
        """Whose rights a child process is given, as Popen takes them; empty for those of this process."""
        return {} if self.is_own else {"user": self.uid, "group": self.gid, "extra_groups": sorted(self.groups)}

    @property
    def eyes(self) -> str:
        """The user's name, for a sentence about who has tried something."""
        try:
            return self.name or pwd.getpwuid(self.uid).pw_name
        except KeyError:  # a container's user, which nobody has named
            return f"user {self.uid}"

    def may(self, path: Path, mode: int) -> bool:
        """Whether the account may use `path` as `mode` says (os.R_OK, os.W_OK, os.X_OK, together with |).

        Every folder above it has to let the account pass too, above a link as well as above what it leads to.
        """
        if self.is_own:
            return os.access(path, mode)
        real = Path(os.path.realpath(path))
        passed = {*path.absolute().parents, *real.parents}
        return self._is_allowed(real, mode) and all(self._is_allowed(folder, os.X_OK) for folder in passed)

    def _is_allowed(self, path: Path, mode: int) -> bool:
        """What the mode of `path` itself says."""
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
    return Account("", os.geteuid(), os.getegid(), frozenset({os.getegid(), *os.getgroups()}))


def account_of_service() -> Account:
    """The service's user where root asks and there is one: root itself may do everything, and would find no fault."""
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(SERVICE_USER)
        except KeyError:
            return own_account()
        groups = frozenset(os.getgrouplist(user.pw_name, user.pw_gid))
        return Account(user.pw_name, user.pw_uid, user.pw_gid, groups)
    return own_account()


def group_of(path: Path) -> str:
    """The name of the group that a file belongs to, or its number where it has none, as in a container."""
    try:
        return path.group()
    except KeyError:
        return str(path.stat().st_gid)
