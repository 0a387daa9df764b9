"""Run one row in this process: `python -m tests.faults.row M1 10 FOLDER`, which __main__ does in a new world.

The outcome is in `outcome.json` in FOLDER, which whoever started the row removes: what a row has mounted goes with it.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
import traceback
from pathlib import Path

from tests.faults.fault import FAULTS, Outcome, UnavailableError, all_faults
from tests.faults.harness import Harness
from tests.faults.world import open_loopback


def main(argv: list[str]) -> int:
    """Cause the fault and write the outcome; what went wrong is an outcome too."""
    name, times, folder = argv[0], int(argv[1]), Path(argv[2])
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s")
    if os.getpid() == 1:
        open_loopback()
    all_faults()
    (folder / "outcome.json").write_text(
        json.dumps(dataclasses.asdict(_outcome(name, times, folder))), encoding="utf-8"
    )
    return 0


def _outcome(name: str, times: int, folder: Path) -> Outcome:
    with Harness(folder) as harness:
        try:
            return FAULTS[name].cause(harness, times)
        except UnavailableError as error:
            return failed(times, f"not shown: {error}")
        except Exception as error:  # whatever a row meets, its line is in the table
            traceback.print_exc()
            harness.tell_logs()
            return failed(times, f"{type(error).__name__}: {error}")


def failed(times: int, why: str) -> Outcome:
    """The outcome of a row that did not come to its judgement."""
    return Outcome(times, None, None, None, None, passed=False, figure=" ".join(why.split()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
