"""A partition: the kernel's packet filter drops what passes between node and broker, both ways, without a word."""

from __future__ import annotations

import os
import shutil
import subprocess

from tests.faults.fault import UnavailableError

RULES = """
table inet cut {{
    chain in {{
        type filter hook input priority 0
        tcp dport {port} drop
        tcp sport {port} drop
    }}
}}
"""


class Partition:
    """Drops what comes to or from a TCP port of this network, which must be a row's own."""

    def __init__(self, port: int) -> None:
        """UnavailableError where the row has no network of its own, or there is no nft."""
        if os.getpid() != 1:
            raise UnavailableError("to drop packets a row needs a network of its own, and unshare(1) is refused here")
        if shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") is None:
            raise UnavailableError("to drop packets nft is needed; install nftables")
        self._port = port

    def begin(self) -> None:
        """Drop from now on."""
        _nft(RULES.format(port=self._port))

    def end(self) -> None:
        """Let everything pass again."""
        _nft("delete table inet cut")


def _nft(rules: str) -> None:
    subprocess.run(["/usr/sbin/nft", "-f", "-"], input=rules, text=True, check=True)
