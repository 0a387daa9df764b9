"""U1: mistakes in the configuration, at random."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel

from edge_app.__main__ import EXIT_CONFIG, main
from edge_app.settings import Config
from tests.broker import free_port
from tests.faults.fault import Outcome, fault
from tests.faults.harness import Harness
from tests.processes import ROOT

LIMIT_S = 10  # a configuration that is accepted by mistake starts a service, which does not end by itself
WRONG = ("[[1]]", "{ a = 1 }", "-1", "1e300", "nan")  # as no setting may be


@fault("U1", "mistakes in the configuration", short=200, long=2000)
def bad_config(harness: Harness, times: int) -> Outcome:
    """Each is refused with exit code 78 and a sentence that names the key; no traceback, and no service that starts."""
    good = harness.node(free_port()).config.read_text("utf-8")
    path = harness.folder / "bad.toml"
    chance = random.Random(200)
    mistakes = list(_mistakes(good))
    wrong: list[str] = []
    for _ in range(times):
        name, text = chance.choice(mistakes)
        path.write_bytes(text)
        code, said = _forked(path, harness.folder / "said")
        if code != EXIT_CONFIG or name not in said or "Traceback" in said:
            wrong.append(f"{name} {text[-60:]!r}: exit code {code}, {said[-200:]!r}")
    done = _as_a_process(path)
    if done.returncode != EXIT_CONFIG or "Traceback" in done.stderr:
        wrong.append(f"as a process: exit code {done.returncode}, {done.stderr[-200:]!r}")
    return Outcome(
        times,
        len(wrong),
        None,
        None,
        None,
        passed=not wrong,
        figure=f"{len(wrong)} not refused as they should, of {times} drawn from {len(mistakes)} {wrong[:2] or ''}",
    )


def _mistakes(good: str) -> Iterator[tuple[str, bytes]]:
    """`(what the message must name, the file)`; none of them is a valid configuration."""
    for section, field in _settings():
        for value in WRONG:
            yield f".{field}", _with(good, section, field, f"{field} = {value}").encode()
        yield f".{field}_x", _with(good, section, field, f"{field}_x = 1").encode()
        yield "line", _with(good, section, field, f'{field} = "').encode()
        yield "utf-8", _with(good, section, field, f'{field} = "\N{BULLET}"').encode("cp1252")
    yield "bundles", good.replace("bundles =", "# bundles =").encode()
    yield "camera", good.partition("[[camera]]")[0].encode()


def _with(text: str, section: str, field: str, line: str) -> str:
    """The file with one more line in a section, in place of the field's own."""
    header = f"[[{section}]]" if get_origin(Config.model_fields[section].annotation) is tuple else f"[{section}]"
    lines, inside = [], False
    for each in text.splitlines() + ([] if header in text else [header]):
        inside = each == header if each.startswith("[") else inside
        if not (inside and each.startswith(f"{field} = ")):
            lines.append(each)
        if each == header:
            lines.append(line)
    return "\n".join([*lines, ""])


def _settings() -> Iterator[tuple[str, str]]:
    """`(section, field)` of every setting."""
    for section, info in Config.model_fields.items():
        for kind in (info.annotation, *get_args(info.annotation)):  # a section, or a tuple of them
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from ((section, field) for field in kind.model_fields)


def _forked(config: Path, said: Path) -> tuple[int, str]:
    """Exit code and words of `edge-app run` in a fork of this process, which has imported all it needs."""
    pid = os.fork()
    if pid == 0:
        with said.open("wb") as file:
            os.dup2(file.fileno(), 2)
        try:
            signal.alarm(LIMIT_S)
            os._exit(main(["run", "--config", str(config)]))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.read_text("utf-8", errors="replace")


def _as_a_process(config: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_app", "run", "--config", str(config)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S)
