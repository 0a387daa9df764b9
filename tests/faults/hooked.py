"""Nodes whose processes a row can reach into (hooks/sitecustomize.py), and what is left of processes."""

from __future__ import annotations

from pathlib import Path

from tests.faults.node import Node
from tests.processes import ROOT

HOOKS = Path(__file__).with_name("hooks")


class Hooks:
    """What is to happen inside the processes of a node that has not been started; sitecustomize.py has the words."""

    def __init__(self, node: Node) -> None:
        self._folder = node.folder / "hooks"
        self._folder.mkdir()
        node.environ |= {"FAULT_HOOKS": str(self._folder), "PYTHONPATH": f"{HOOKS}:{ROOT}"}

    def set(self, moment: str, words: str) -> None:
        """Let `words` happen at the next such moment."""
        waiting = self._folder / "new"
        waiting.write_text(words, encoding="utf-8")
        waiting.replace(self._folder / moment)  # as a whole: it may be read at any time

    def clear(self, moment: str) -> None:
        """Take it back, if it has not happened."""
        (self._folder / moment).unlink(missing_ok=True)

    def is_set(self, moment: str) -> bool:
        """Whether it has not happened yet."""
        return (self._folder / moment).exists()


def runs(pid: int) -> bool:
    """Whether a process is there, and not only waits for its parent to notice that it is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
