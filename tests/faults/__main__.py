"""Run the fault suite: `python -m tests.faults --short`.

Each row runs in a process and a world of its own (world.py); several at once, since most of them wait most of the time.
Exit code 0 if every row passed, 1 if one failed or could not be shown, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from export.arguments import whole
from tests.faults import report
from tests.faults.fault import Fault, Outcome, all_faults
from tests.faults.harness import KEPT
from tests.faults.listener import SABOTAGE
from tests.faults.row import failed
from tests.faults.world import entrance
from tests.processes import ROOT

LOG_TAIL_LINES = 40


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m tests.faults", description="Cause every fault and judge the node.")
    form = p.add_mutually_exclusive_group()
    form.add_argument("--short", action="store_true", help="the form of CI, 15 minutes at most; the default")
    form.add_argument("--long", action="store_true", help="each fault as often as a release deserves; hours")
    form.add_argument("--times", metavar="N", type=whole(1), help="each fault N times")
    p.add_argument("--only", metavar="M1,C3", help="only these rows")
    p.add_argument("--jobs", metavar="N", type=whole(1), default=3, help="rows at once; default: 3")
    p.add_argument(
        "--sabotage", choices=["forget", "double"], help="spoil the subscriber: rows that count messages must now fail"
    )
    p.add_argument("--keep", metavar="DIR", type=Path, help="put what rows measured besides into this folder")
    p.add_argument("--list", action="store_true", help="print the rows and run none")
    shown = p.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="one JSON object a fault on stdout, and nothing else")
    shown.add_argument("--markdown", action="store_true", help="the table as the README has it")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rows that were asked for and print what came of them."""
    arguments = parser().parse_args(argv)
    rows = _chosen(all_faults(), arguments.only)
    if arguments.list:
        print("\n".join(f"{row.id}  {row.title}" for row in rows))
        return 0
    if not entrance():
        print("faults: this machine allows no namespaces; rows that need them will say so.", file=sys.stderr)
    began_s, reports = time.monotonic(), []
    for row, outcome in _run(rows, arguments):
        reports.append((row, outcome))
        if arguments.json:
            print(report.json_line(row, outcome), flush=True)
        verdict = "passed" if outcome.passed else "FAILED"
        print(f"faults: {row.id} {verdict}: {outcome.figure}", file=sys.stderr)
    reports.sort(key=lambda pair: rows.index(pair[0]))
    failures = sum(not outcome.passed for _, outcome in reports)
    if arguments.markdown:
        print(report.markdown(reports))
    elif not arguments.json:
        print(report.table(reports), f"{len(reports) - failures} passed, {failures} failed", sep="\n")
    print(f"faults: {len(reports)} rows in {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    return 1 if failures else 0


def _chosen(rows: list[Fault], only: str | None) -> list[Fault]:
    if only is None:
        return rows
    names = only.split(",")
    if unknown := sorted(set(names) - {row.id for row in rows}):
        parser().error(f"there is no row {', '.join(unknown)}; --list shows all")
    return [row for row in rows if row.id in names]


def _run(rows: list[Fault], arguments: argparse.Namespace) -> Iterator[tuple[Fault, Outcome]]:
    """Run the rows and give their outcomes, each as it comes: those that share the machine first."""
    together = [row for row in rows if not row.alone]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        pending = [(row, pool.submit(_run_row, row, arguments)) for row in together]
        for row, future in pending:
            yield row, future.result()
    for row in rows:
        if row.alone:
            yield row, _run_row(row, arguments)


def _run_row(row: Fault, arguments: argparse.Namespace) -> Outcome:
    """Run one row in a process of its own, which is killed with all that it started when it takes too long."""
    times = arguments.times or (row.long if arguments.long else row.short)
    limit_s = row.limit_s * max(1.0, times / row.short)
    with tempfile.TemporaryDirectory(prefix="fault-") as name:
        outcome, log = Path(name, "outcome.json"), Path(name, "log")
        # Whoever ends us ends the row, and with its first process its whole world.
        tied = ("setpriv", "--pdeathsig", "KILL")
        command = [*tied, *entrance(), sys.executable, "-m", "tests.faults.row", row.id, str(times), name]
        with log.open("wb") as output:
            environ = {**os.environ, SABOTAGE: arguments.sabotage or ""}
            process = subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
            try:
                process.wait(limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if arguments.keep and (kept := Path(name, KEPT)).is_dir():
            shutil.copytree(kept, arguments.keep, dirs_exist_ok=True)
        if not outcome.exists():
            what = f"took longer than {limit_s:g} s" if process.returncode == -9 else f"ended with {process.returncode}"
            result = failed(times, f"the row {what}")
        else:
            result = Outcome(**json.loads(outcome.read_text(encoding="utf-8")))
        if not result.passed:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
            print("".join(f"faults: {row.id} | {line}\n" for line in lines), end="", file=sys.stderr)
        return result


if __name__ == "__main__":
    sys.exit(main())
