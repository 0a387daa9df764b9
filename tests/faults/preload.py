"""Libraries that are loaded into a process to lie to it: a disk that fails, a clock that is set."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

from tests.faults.fault import UnavailableError

HERE = Path(__file__).parent


def _compiled(name: str, folder: Path) -> Path:
    """Compile `name`.c; UnavailableError where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise UnavailableError("a C compiler is needed; install gcc")
    library = folder / f"{name}.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / f"{name}.c", "-ldl"], check=True)
    return library


class FailingDisk:
    """The environment of processes for whom the disk fails now and then."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._library = _compiled("failing_disk", folder)
        self._chance = random.Random(seed)

    def environ(self, folder: Path, share: float) -> dict[str, str]:
        """Of the writes and syncs below `folder`, `share` fail; in another order each time this is called."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAILING_DISK_FOLDER": str(folder),
            "FAILING_DISK_SHARE": str(share),
            "FAILING_DISK_SEED": str(self._chance.randrange(1, 2**15)),
        }


class WallClock:
    """A wall clock that is set by `set_s`; monotonic clocks go on undisturbed."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "offset"
        self.set_s(0)
        self.environ = {"LD_PRELOAD": str(_compiled("wall_clock", folder)), "WALL_CLOCK_OFFSET": str(self._offset)}

    def set_s(self, offset_s: int) -> None:
        """Put the clock forward by so many seconds from the true time, or back."""
        waiting = self._offset.with_suffix(".new")
        waiting.write_text(f"{offset_s}\n", encoding="ascii")
        waiting.replace(self._offset)  # as a whole: it is read at any moment
