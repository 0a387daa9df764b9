"""Commands run as a person would run them: in real processes, which take signals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextmanager
def running(
    *arguments: object, path: Path = ROOT, log: Path | None = None, **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """A Python process in a group of its own, as a shell starts it; killed when the block ends.

    `path`: to find further modules in; `log`: takes all that it says, in place of the two pipes; `environ`: further
    variables of its environment.
    """
    # Ctrl-C is ignored where the tests run in the background, SIGHUP under nohup; a child would inherit that.
    command = ["env", "--default-signal=INT,HUP", sys.executable, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(path), **environ}
    with nullcontext(subprocess.PIPE) if log is None else log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, text=True, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def workers(pid: int) -> list[Path]:
    """The worker processes that `pid` has started (not Python's own resource tracker), as folders of /proc."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    children = [Path("/proc", child) for child in pids]
    return [child for child in children if "spawn_main" in (child / "cmdline").read_text(encoding="utf-8")]
